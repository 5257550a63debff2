"""Tests: real services on the ports that the test plugin chose, cheap password hashing."""

from drservice.settings.base import *  # noqa: F403
from drservice.settings.base import DATABASES, STORAGES

SECRET_KEY = "only-for-tests-" + "x" * 50
MASTER_KEYS = ["only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz"]
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
# Argon2 takes 50 ms by design; a suite that signs in a thousand times needs the quick one.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES["default"]["OPTIONS"]["serverSelectionTimeoutMS"] = 15000
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
