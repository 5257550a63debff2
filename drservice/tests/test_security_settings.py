"""What the settings promise: production as a process of its own reads them, and what all share."""

import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from allauth.mfa import app_settings as mfa_settings
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import generate_totp_secret
from django.contrib.auth.password_validation import get_password_validators, validate_password
from django.core.exceptions import ValidationError
from django.test import Client, override_settings
from django.utils.module_loading import import_string

from accounts.models import User
from drservice.common.log_lines import LineFormatter
from drservice.settings import base
from drservice.settings.env import BASE_DIR
from drservice.tests.test_settings_prod import start

YEAR_S = 365 * 24 * 3600
# Names of settings, as django.conf knows them once everything is loaded.
ASKED = [
    "DEBUG", "INSTALLED_APPS", "MIDDLEWARE", "PASSWORD_HASHERS", "SESSION_SERIALIZER",
    "CELERY_ACCEPT_CONTENT", "CELERY_TASK_SERIALIZER", "SECURE_SSL_REDIRECT",
    "SECURE_REDIRECT_EXEMPT", "SECURE_HSTS_SECONDS", "SECURE_HSTS_INCLUDE_SUBDOMAINS",
    "SECURE_PROXY_SSL_HEADER", "MESSAGE_STORAGE", "USE_X_FORWARDED_HOST", "SESSION_ENGINE",
    "SESSION_COOKIE_AGE", "SESSION_IDLE_S",
]  # fmt: skip
COOKIE = ["NAME", "SECURE", "HTTPONLY", "SAMESITE", "PATH", "DOMAIN"]


@pytest.fixture(scope="module")
def production() -> dict:
    names = [*ASKED, *(f"{kind}_COOKIE_{one}" for kind in ("SESSION", "CSRF") for one in COOKIE)]
    code = f"""
import json
from django.conf import settings
print(json.dumps({{name: getattr(settings, name) for name in {names}}}, default=str))
"""
    done = start([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_production_shows_no_debug_page_and_runs_nothing_made_for_development(production):
    assert production["DEBUG"] is False
    loaded = production["INSTALLED_APPS"] + production["MIDDLEWARE"]
    for_development = re.compile(r"django_extensions|debug|silk|\.testing|admindocs")
    assert not [name for name in loaded if for_development.search(name)]


def test_production_speaks_https_only(production):
    assert production["SECURE_SSL_REDIRECT"] is True
    assert production["SECURE_HSTS_SECONDS"] >= YEAR_S
    assert production["SECURE_HSTS_INCLUDE_SUBDOMAINS"] is True
    assert production["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]
    # Nothing but the two probes, from their first to their last letter.
    assert production["SECURE_REDIRECT_EXEMPT"] == ["^healthz$", "^readyz$"]


@pytest.mark.parametrize("kind", ["SESSION", "CSRF"])
def test_production_cookies_go_to_this_host_alone_and_to_no_script(production, kind):
    cookie = {name: production[f"{kind}_COOKIE_{name}"] for name in COOKIE}
    assert cookie.pop("NAME").startswith("__Host-")
    assert cookie.pop("SAMESITE") in ("Lax", "Strict")
    assert cookie == {"SECURE": True, "HTTPONLY": True, "PATH": "/", "DOMAIN": None}


def test_nothing_but_the_session_key_is_kept_in_a_browser(production):
    assert "signed_cookies" not in production["SESSION_ENGINE"]
    assert production["MESSAGE_STORAGE"].endswith("session.SessionStorage")


def test_sessions_and_messages_between_processes_are_json(production):
    # JSON, in which an ObjectId is its hex digits: held by drservice/common/tests/test_sessions.py.
    assert production["SESSION_SERIALIZER"] == "drservice.common.sessions.SessionSerializer"
    assert production["CELERY_ACCEPT_CONTENT"] == ["json"]
    assert production["CELERY_TASK_SERIALIZER"] == "json"


def test_callers_can_not_name_the_host_by_a_forwarded_header(production):
    assert production["USE_X_FORWARDED_HOST"] is False


def test_session_limits_are_those_that_the_page_of_settings_names(production):
    words = " ".join((BASE_DIR / "docs" / "settings.md").read_text().split())
    assert f"{production['SESSION_IDLE_S'] // 60} minutes without a click" in words
    assert f"{production['SESSION_COOKIE_AGE'] // 3600} hours in any case" in words


def image_file() -> str:
    return (BASE_DIR / "Dockerfile").read_text()


def test_web_image_believes_its_proxy_alone_and_lists_no_requests():
    command = re.search(r"exec (uvicorn [^\"]*)", image_file()).group(1).split()
    # drservice.common.client_address does, by the number of proxies that TRUSTED_PROXIES names.
    assert "--no-proxy-headers" in command
    assert "--forwarded-allow-ips" not in command
    # An address may hold a name that somebody searched for.
    assert "--no-access-log" in command
    assert "--no-server-header" in command


def test_web_server_lists_no_requests_once_the_settings_are_loaded():
    code = """
import logging, uvicorn
uvicorn.Config("drservice.asgi:application", access_log=False).load()
assert logging.getLogger("uvicorn.error").hasHandlers()
assert not logging.getLogger("uvicorn.access").hasHandlers()
"""
    done = start([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr


def test_images_run_as_a_user_without_rights():
    stages = re.split(r"^FROM ", image_file(), flags=re.MULTILINE)[1:]
    final = [stage for stage in stages if "CMD" in stage]
    assert final
    assert all(stage.rfind("USER drservice") > stage.rfind("COPY") for stage in final)


GOOD_PASSWORDS = [
    "only small letters and spaces",
    "Ωmega ünd ひらがな!!",
    "8" * 5 + "-3141592653",
    "long words " * 10,
]


# Passwords are compared with the names of hospitals, which are in the database.
@pytest.mark.django_db
@pytest.mark.parametrize("password", GOOD_PASSWORDS)
def test_password_may_be_of_any_letters_and_long(password):
    validate_password(password, User(email="ana@example.org", name="Ana Maria"))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "password", ["short", "ninechars", "password123", "1234567890", "ana@example.org", "qwertyuiop"]
)
def test_password_that_is_short_known_or_ones_own_name_is_refused(password):
    with pytest.raises(ValidationError):
        validate_password(password, User(email="ana@example.org", name="Ana Maria"))


def test_passwords_need_no_mixture_and_never_expire():
    validators = get_password_validators(base.AUTH_PASSWORD_VALIDATORS)
    assert not [one for one in validators if re.search("Upper|Symbol|Digit|Expir", repr(one))]
    fields = {field.name for field in User._meta.get_fields()}
    assert not {name for name in fields if "expire" in name or "changed_at" in name}


def test_passwords_are_kept_as_argon2id_of_a_strength_that_is_advised(production):
    assert production["PASSWORD_HASHERS"] == ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    with override_settings(PASSWORD_HASHERS=production["PASSWORD_HASHERS"]):
        user = User()
        user.set_password("a password to look at")
    kind, _, memory, *_ = user.password.partition("$")[2].split("$")
    cost = dict(one.split("=") for one in memory.split(","))
    assert kind == "argon2id"
    # At least the 19 MiB, two rounds and one lane of the OWASP advice of 2024.
    assert int(cost["m"]) >= 19 * 1024
    assert int(cost["t"]) >= 2


def test_codes_of_second_factors_are_random_and_long_enough():
    secrets_of_apps = {generate_totp_secret() for _ in range(50)}
    assert len(secrets_of_apps) == 50
    # 160 bits, in letters of five bits each.
    assert all(len(one.rstrip("=")) >= 32 for one in secrets_of_apps)
    seeds = {RecoveryCodes.generate_seed() for _ in range(50)}
    assert len(seeds) == 50
    assert all(len(seed) >= 32 for seed in seeds)
    # Digits of a recovery code; six of them are the 20 bits that are asked for.
    assert mfa_settings.RECOVERY_CODE_DIGITS >= 8
    assert mfa_settings.TOTP_PERIOD <= 30


@pytest.mark.django_db
def test_password_with_the_name_of_the_service_is_refused():
    for password in ("DrService-2026", "retinopathy1!", "Screening-99"):
        with pytest.raises(ValidationError):
            validate_password(password, User(email="ana@example.org", name="Ana Maria"))
    validate_password("long walk retinopathy lakes", User(email="ana@example.org", name="Ana"))


def logged(message: str, *arguments) -> str:
    record = logging.LogRecord("accounts", logging.INFO, "", 0, message, arguments, None)
    record.created, record.msecs = 1_800_000_000.25, 250.0
    return LineFormatter().format(record)


def test_log_line_says_when_in_utc_and_what():
    assert logged("sign_in_failed address=%s", "127.0.0.1") == (
        "2027-01-15T08:00:00.250Z INFO accounts sign_in_failed address=127.0.0.1"
    )


@pytest.mark.parametrize("broken", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\u2028b", "a\x85b"])
def test_log_line_stays_one_line_whatever_is_logged(broken):
    line = logged("event field=%s", broken)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert "field=a\\" in line


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What Django's loggers write, through the handler that the settings describe."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(LineFormatter())
    [name] = base.LOGGING["handlers"]["stderr"]["filters"]
    handler.addFilter(import_string(base.LOGGING["filters"][name]["()"])())
    logger = logging.getLogger("django")
    logger.addHandler(handler)
    yield handler.stream
    logger.removeHandler(handler)


@pytest.mark.django_db
def test_log_line_names_the_route_of_a_request_and_not_its_path(written):
    client = Client(enforce_csrf_checks=True)
    client.get("/cases/64a000000000000000004711/é")
    client.post("/cases/64a000000000000000004711/cancel/")
    client.get("/accounts/invitation/a-secret-token/")
    client.get("/health/", headers={"Host": "evil.example"})
    lines = written.getvalue()
    assert "Not Found: an address that leads nowhere" in lines
    assert "Forbidden (CSRF cookie not set.): /cases/<oid:pk>/cancel/" in lines
    assert "Invalid HTTP_HOST" in lines
    assert "64a000000000000000004711" not in lines
    assert "a-secret-token" not in lines


def test_every_logger_writes_such_lines_to_the_same_place():
    handlers = base.LOGGING["handlers"]
    assert {one["class"] for one in handlers.values()} == {"logging.StreamHandler"}
    assert {one["formatter"] for one in handlers.values()} == {"line"}
    assert base.LOGGING["formatters"].keys() == {"line"}
    assert base.LOGGING["root"]["handlers"] == ["stderr"]
