"""Development and the demo: embedded services, plain HTTP on loopback, a key made on the spot."""

from drservice.settings import env
from drservice.settings.base import *  # noqa: F403
from drservice.settings.base import INSTALLED_APPS, MASTER_KEYS, SECRET_KEY, STORAGES, VAR_DIR
from drservice.settings.development_key import development_key
from drservice.settings.mail import mail_settings

SECRET_KEY = SECRET_KEY or development_key(VAR_DIR / "secret-key")
MASTER_KEYS = MASTER_KEYS or [development_key(VAR_DIR / "master-key")]
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
INSTALLED_APPS = [*INSTALLED_APPS, "django_extensions"]
# Serve static files straight from static/: nothing to collect while pages are being written.
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
# A file for each mail: links that let somebody in don't belong in a log.
globals().update(mail_settings(env.read("EMAIL_URL") or "file:", VAR_DIR))
MFA_FOR_OPERATORS = False
