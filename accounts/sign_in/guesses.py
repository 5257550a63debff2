"""Stop whoever tries one password at many accounts; axes stops who tries many at one.

Failures are counted for each network address, of version 6 for each network. An e-mail that has
signed in from an address lately stays open there: a whole hospital may share one, and nobody in its
waiting room may lock it out.
"""

from django.core.cache import cache
from django.utils.crypto import salted_hmac

from drservice.common.client_address import network_of
from drservice.common.rate_limits import RateLimit

FAILURES = RateLimit(
    name="sign-in",
    most=100,
    window_s=15 * 60,
    refusal="Too many sign-ins failed from your network. Wait 15 minutes and try again.",
)
OLD_PASSWORDS = RateLimit(
    name="old-password",
    most=10,
    window_s=15 * 60,
    refusal="Too many tries. Wait 15 minutes and try again.",
)
KNOWN_FOR_S = 30 * 24 * 3600


def require_room(*, address: str, email: str) -> None:
    """Raise TooOften when too many sign-ins failed from an address that doesn't know the e-mail."""
    if not cache.get(_known_key(address, email)):
        FAILURES.require_room(network_of(address))


def failure_count(*, address: str) -> None:
    FAILURES.count(network_of(address))


def address_remember(*, address: str, email: str) -> None:
    """Remember that an e-mail's owner has signed in from an address."""
    cache.set(_known_key(address, email), 1, KNOWN_FOR_S)


def _known_key(address: str, email: str) -> str:
    # Neither an e-mail nor who works where can be read out of Redis.
    return "known:" + salted_hmac("accounts.sign_in.guesses", f"{address} {email}").hexdigest()
