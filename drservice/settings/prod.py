"""Production: refuses to start half-configured, speaks HTTPS only."""

from django.core.exceptions import ImproperlyConfigured

from drservice.settings import env
from drservice.settings.base import *  # noqa: F403
from drservice.settings.base import ALLOWED_HOSTS, MASTER_KEYS, SECRET_KEY
from drservice.settings.master_keys import MAKE_ONE

MIN_SECRET_KEY_CHARACTERS = 50
MIN_DISTINCT_CHARACTERS = 10
NOT_CHOSEN = ("", [], None)
COUNT_THE_PROXIES = (
    "Set it to how many proxies between people and this service add to X-Forwarded-For (a load "
    "balancer, an ingress, nginx, Caddy): 1, 2 for one behind another, 0 for none. With too low a "
    "number everybody seems to come from one address, and one who guesses passwords shuts "
    "everybody out. docs/settings.md says how to see that the number is right."
)


def _require(name: str, cure: str) -> None:
    if env.read(name) in NOT_CHOSEN:
        raise ImproperlyConfigured(f"{name} is not set. {cure}")


def _is_weak(key: str) -> bool:
    return (
        len(key) < MIN_SECRET_KEY_CHARACTERS
        or len(set(key)) < MIN_DISTINCT_CHARACTERS
        or key.startswith("django-insecure-")
    )


_require("MONGODB_URI", "Set it to the replica set's address; production has no embedded mongod.")
_require("REDIS_URL", "Set it to the Redis server's address; production has no embedded redis.")
_require("ALLOWED_HOSTS", "Set it to the host names of the service, separated by commas.")
_require("TRUSTED_PROXIES", COUNT_THE_PROXIES)
_require("SECRET_KEY", "Set it to 50 random characters or more, and keep it out of the repository.")
if _is_weak(SECRET_KEY):
    raise ImproperlyConfigured(
        "SECRET_KEY is too weak: use at least 50 characters, at random, for instance from "
        "`python -c 'import secrets; print(secrets.token_urlsafe(64))'`."
    )
if not MASTER_KEYS:
    raise ImproperlyConfigured(
        "MASTER_KEY is not set, nor MASTER_KEY_FILE: without one no patient's name can be saved or "
        f"read. {MAKE_ONE} Keep a copy away from the database; docs/keys.md says why."
    )
if "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS is *: name the host names of the service instead.")

SECURE_SSL_REDIRECT = True
# Probes come from inside the network, past the proxy that speaks HTTPS; they hear "ok" or not.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
# Browsers take a cookie of such a name from this very host alone, over HTTPS, for all of its paths.
SESSION_COOKIE_NAME = "__Host-session"
CSRF_COOKIE_NAME = "__Host-csrf"
