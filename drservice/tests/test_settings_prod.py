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
    "MASTER_KEY": secrets.token_urlsafe(32),
    "ALLOWED_HOSTS": "screening.example",
    "MONGODB_URI": "mongodb://127.0.0.1:1/",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "TRUSTED_PROXIES": "1",
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
        ({"MASTER_KEY": ""}, "MASTER_KEY is not set, nor MASTER_KEY_FILE"),
        ({"MASTER_KEY": "too-short"}, "Key 1 of the master keys is too weak"),
        ({"MASTER_KEY": secrets.token_urlsafe(32) + "," + "x" * 60}, "Key 2 of the master keys"),
        ({"MASTER_KEY_FILE": "/no/such/file"}, "MASTER_KEY and MASTER_KEY_FILE are both set"),
        (
            {"MASTER_KEY": "", "MASTER_KEY_FILE": "/no/such/file"},
            "MASTER_KEY_FILE names /no/such/file, which can't be read (FileNotFoundError)",
        ),
        ({"MASTER_KEY": "", "MASTER_KEY_FILE": os.devnull}, "which holds no key"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS is not set"),
        ({"ALLOWED_HOSTS": "a.example,*"}, "ALLOWED_HOSTS is *"),
        ({"MONGODB_URI": ""}, "MONGODB_URI is not set"),
        ({"REDIS_URL": ""}, "REDIS_URL is not set"),
        ({"TRUSTED_PROXIES": ""}, "TRUSTED_PROXIES is not set. Set it to how many proxies"),
        ({"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES has a value that can't be used"),
        ({"UPLOAD_MAX_MB": "many"}, "UPLOAD_MAX_MB has a value that can't be used"),
    ],
)
def test_start_is_refused_and_names_what_is_missing(changed, message):
    done = start(LOAD, **changed)
    assert done.returncode != 0
    last_line = done.stderr.strip().splitlines()[-1]
    assert message in last_line
    assert GOOD["SECRET_KEY"] not in done.stderr
    assert GOOD["MASTER_KEY"] not in done.stderr


def test_master_keys_may_stand_in_a_file(tmp_path):
    keys = [secrets.token_urlsafe(32) for _ in range(3)]
    (tmp_path / "key").write_text(f"{keys[0]}\n{keys[1]}, {keys[2]}\n")
    print_keys = "from django.conf import settings; print(*settings.MASTER_KEYS)"
    command = [sys.executable, "-c", print_keys]
    done = start(command, MASTER_KEY="", MASTER_KEY_FILE=str(tmp_path / "key"))
    assert done.stdout.split() == keys, done.stderr


@pytest.mark.parametrize(
    ("settings", "chosen", "trusted"), [("prod", "0", "0"), ("prod", "2", "2"), ("dev", "", "0")]
)
def test_no_proxy_is_a_choice_that_production_wants_to_hear(tmp_path, settings, chosen, trusted):
    done = start(
        [sys.executable, "-c", "from django.conf import settings; print(settings.TRUSTED_PROXIES)"],
        DJANGO_SETTINGS_MODULE=f"drservice.settings.{settings}",
        TRUSTED_PROXIES=chosen,
        VAR_DIR=str(tmp_path),
    )
    assert done.stdout.strip() == trusted, done.stderr


def test_development_makes_a_master_key_of_its_own_and_keeps_it(tmp_path):
    command = [
        sys.executable,
        "-c",
        "from django.conf import settings; print(settings.MASTER_KEYS)",
    ]
    development = {
        "DJANGO_SETTINGS_MODULE": "drservice.settings.dev",
        "MASTER_KEY": "",
        "VAR_DIR": str(tmp_path),
    }
    first, second = (start(command, **development) for _ in range(2))
    assert first.stdout == second.stdout == f"[{(tmp_path / 'master-key').read_text()!r}]\n"
    assert (tmp_path / "master-key").stat().st_mode & 0o077 == 0


def test_well_configured_production_starts_and_passes_the_deploy_check():
    done = start(DEPLOY_CHECK)
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout
