"""Production refuses to start half-configured; each start is a process of its own."""

import os
import secrets
import subprocess
import sys

import pytest

from drservice.settings.env import BASE_DIR, VARIABLES

GOOD = {
    "DJANGO_SETTINGS_MODULE": "drservice.settings.prod",
    "SECRET_KEY": secrets.token_urlsafe(64),
    "ALLOWED_HOSTS": "screening.example",
    "MONGODB_URI": "mongodb://127.0.0.1:1/",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
LOAD = [sys.executable, "-c", "from django.conf import settings; settings.SECRET_KEY"]
DEPLOY_CHECK = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]


def start(command: list[str], **changed: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        command, env={**kept, **GOOD, **changed}, cwd=BASE_DIR, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "too-short"}, "SECRET_KEY is too weak"),
        ({"SECRET_KEY": "x" * 60}, "SECRET_KEY is too weak"),
        ({"SECRET_KEY": "django-insecure-" + secrets.token_urlsafe(64)}, "SECRET_KEY is too weak"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is not set"),
        ({"ALLOWED_HOSTS": "a.example,*"}, "ALLOWED_HOSTS is *"),
        ({"MONGODB_URI": ""}, "MONGODB_URI is not set"),
        ({"REDIS_URL": ""}, "REDIS_URL is not set"),
        ({"UPLOAD_MAX_MB": "many"}, "UPLOAD_MAX_MB has a value that can't be used"),
    ],
)
def test_start_is_refused_and_names_what_is_missing(changed, message):
    done = start(LOAD, **changed)
    assert done.returncode != 0
    last_line = done.stderr.strip().splitlines()[-1]
    assert message in last_line
    assert GOOD["SECRET_KEY"] not in done.stderr


def test_well_configured_production_starts_and_passes_the_deploy_check():
    done = start(DEPLOY_CHECK)
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout
