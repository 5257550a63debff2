"""The ASGI application; `uvicorn drservice.asgi:application` serves it."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drservice.settings.dev")

application = get_asgi_application()
