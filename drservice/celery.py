"""The Celery application; workers start with `celery -A drservice worker`."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drservice.settings.dev")

# By name, as kombu has it: a process that sends nothing loads no transport.
for scheme in ("redis", "rediss"):
    TRANSPORT_ALIASES[scheme] = "drservice.common.broker:LossAwareTransport"

app = Celery("drservice")
app.config_from_object("django.conf:settings", namespace="CELERY")
