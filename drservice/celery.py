"""The Celery application; workers start with `celery -A drservice worker`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drservice.settings.dev")

app = Celery("drservice")
app.config_from_object("django.conf:settings", namespace="CELERY")
