"""The one place that reads the environment: names, types, defaults, and errors that name the cure.

Every variable the project understands stands in `VARIABLES`; docs/settings.md and
docker-compose.yml are held equal to it by tests.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from drservice.settings.mail import to_email_url

BASE_DIR = Path(__file__).resolve().parent.parent.parent


def to_bool(text: str) -> bool:
    truth = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in truth:
        raise ValueError("must be 1 or 0")
    return truth[text.lower()]


def to_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def to_positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError("must be a whole number above 0")
    return number


def to_count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError("must be a whole number, 0 or above")
    return number


def to_mongodb_uri(text: str) -> str:
    if not text.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must start with mongodb:// or mongodb+srv://")
    return text


def to_redis_url(text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    return text


def to_issuer(text: str) -> str:
    local = ("http://127.0.0.1:", "http://localhost:")
    if not text.startswith(("https://", *local)):
        raise ValueError("must start with https://")
    return text


@dataclass(frozen=True)
class Variable:
    name: str
    parse: Callable
    default: object
    meaning: str


VARIABLES = {
    variable.name: variable
    for variable in (
        Variable("SECRET_KEY", str, "", "signs sessions and links; 50 random characters or more"),
        Variable(
            "MASTER_KEY", to_list, [], "locks every hospital's keys; the first of several counts"
        ),
        Variable("MASTER_KEY_FILE", Path, None, "a file that holds what MASTER_KEY would"),
        Variable("ALLOWED_HOSTS", to_list, [], "host names the service answers to, with commas"),
        Variable("CSRF_TRUSTED_ORIGINS", to_list, [], "https origins behind a proxy, with commas"),
        Variable(
            "TRUSTED_PROXIES",
            to_count,
            None,
            "proxies in front that add to X-Forwarded-For; unset: none, and no production",
        ),
        Variable("MONGODB_URI", to_mongodb_uri, "", "replica set; unset: an embedded mongod"),
        Variable("MONGODB_DATABASE", str, "drservice", "database name"),
        Variable("REDIS_URL", to_redis_url, "", "broker and events; unset: an embedded redis"),
        Variable("VAR_DIR", Path, BASE_DIR / "var", "run-time files: embedded data, logs, models"),
        Variable(
            "TRAINING_DATA",
            Path,
            BASE_DIR.parent / "shared" / "data",
            "labelled eyes to train and evaluate on: labels.csv and its pictures",
        ),
        Variable(
            "IMAGE_STORAGE",
            str,
            "drservice.common.storage.GridFSStorage",
            "Django storage class for photographs and heatmaps",
        ),
        Variable(
            "EMAIL_URL",
            to_email_url,
            "",
            "mail server, smtp:// or smtps://; also file: or console:; unset: no mail is sent",
        ),
        Variable("EMAIL_FROM", str, "DR Service <no-reply@localhost>", "sender of all mail"),
        Variable("INVITATION_DAYS", to_positive, 7, "days until an invitation's link expires"),
        Variable(
            "INVITATION_KEEP_DAYS",
            to_positive,
            30,
            "days until an invitation that is over is deleted",
        ),
        Variable(
            "OIDC_ISSUER", to_issuer, "", "address of an OpenID Connect provider; unset: none"
        ),
        Variable("OIDC_CLIENT_ID", str, "", "under which the provider knows this service"),
        Variable("OIDC_CLIENT_SECRET", str, "", "the secret that goes with OIDC_CLIENT_ID"),
        Variable("OIDC_CLIENT_SECRET_FILE", Path, None, "a file that holds OIDC_CLIENT_SECRET"),
        Variable("OIDC_NAME", str, "your organisation", "what the sign-in page calls the provider"),
        Variable(
            "OIDC_DOMAINS", to_list, [], "mail domains that the provider may speak for, with commas"
        ),
        Variable(
            "OIDC_EMAILS_ARE_VERIFIED",
            to_bool,
            False,
            "1 if all the e-mails that the provider tells are verified, without saying so",
        ),
        Variable(
            "MFA_FOR_OPERATORS",
            to_bool,
            True,
            "platform operators need a second factor; never asked for in the demo",
        ),
        Variable("TIME_ZONE", str, "UTC", "time zone of pages and reports"),
        Variable("LOG_LEVEL", str, "INFO", "level of the project's own log events"),
        Variable("INFERENCE_DEVICE", str, "auto", "auto, cpu, torch-cpu or cuda"),
        Variable("INFERENCE_PRECISION", str, "auto", "auto, fp32, bf16 or int8, if proven"),
        Variable("INFERENCE_BATCH_SIZE", to_positive, 8, "most images in one forward pass"),
        Variable("GRADING_LEASE_S", to_positive, 30, "seconds a worker owns a case unrenewed"),
        Variable("GRADING_LIMIT_S", to_positive, 300, "seconds until a stuck case is taken away"),
        Variable("GRADING_MAX_ATTEMPTS", to_positive, 4, "attempts before a case is given up"),
        Variable("GRADING_HINT_S", to_positive, 15, "seconds until a lost hint is sent again"),
        Variable("RECONCILE_EVERY_S", to_positive, 5, "seconds between sweeps for due cases"),
        Variable("UPLOAD_MAX_MB", to_positive, 30, "largest photograph in megabytes"),
        Variable(
            "QUOTA_PHOTOGRAPHS_A_DAY", to_positive, 5000, "photographs a hospital may add in a day"
        ),
        Variable("QUOTA_GB", to_positive, 500, "gigabytes of photographs a hospital may keep"),
        Variable("UPLOAD_MAX_MEGAPIXELS", to_positive, 40, "largest photograph in megapixels"),
    )
}


def read(name: str, environ: Mapping[str, str] = os.environ):
    """Return the value of a known variable, parsed.

    Raises ImproperlyConfigured with the variable's name, what is wrong with it and what it means.
    """
    variable = VARIABLES[name]
    text = environ.get(name, "")
    if text == "":
        return variable.default
    try:
        return variable.parse(text)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"The environment variable {name} has a value that can't be used: {error}. "
            f"It means: {variable.meaning}. Correct it, or unset it to use the default."
        ) from error
