"""Tests: real services on the ports that the test plugin chose, cheap password hashing."""

import ctypes.util
import functools
import re

from drservice.settings.base import *  # noqa: F403
from drservice.settings.base import ACCOUNT_RATE_LIMITS, DATABASES, STORAGES

# At its start the database backend looks three times for GDAL, which nobody here has, under twelve
# names, with the help of gcc and ld: once is enough for the many short processes of the tests.
ctypes.util.find_library = functools.cache(ctypes.util.find_library)
SECRET_KEY = "only-for-tests-" + "x" * 50
MASTER_KEYS = ["only-for-tests-0123456789-abcdefghijklmnopqrstuvwxyz"]
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
# Argon2 takes 50 ms by design; a suite that signs in a thousand times needs the quick one.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {
    "default": {
        **DATABASES["default"],
        "OPTIONS": {
            **DATABASES["default"]["OPTIONS"],
            "serverSelectionTimeoutMS": 15000,
            # Nothing that a test writes has to survive its mongod: so no write waits for the disk.
            "w": 1,
            "journal": False,
        },
    }
}
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
MFA_FOR_OPERATORS = False
# All tests come from one address: what is counted by address is tested with limits of its own.
ACCOUNT_RATE_LIMITS = {
    action: re.sub(r"\d+/(\w+)/ip", r"100000/\1/ip", rates)
    for action, rates in ACCOUNT_RATE_LIMITS.items()
}
MFA_RATE_LIMITS = {"webauthn_login": "100000/m/ip"}
MAIL_IN_BACKGROUND = False
