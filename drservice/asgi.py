"""The ASGI application; `uvicorn drservice.asgi:application` serves it."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from drservice.body_limits import ENVELOPE_BYTES, BodyLimit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drservice.settings.dev")

application = BodyLimit(
    get_asgi_application(), upload_bytes=settings.UPLOAD_REQUEST_BYTES + ENVELOPE_BYTES
)
