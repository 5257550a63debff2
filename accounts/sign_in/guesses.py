"""Stop whoever guesses: one password at many accounts, or one account from many addresses.

axes counts what one address tries at one e-mail. Here tries are counted for each address, and for
each account whatever the address. Of version 6 an address is a whole network, which one household
or server has.

An e-mail is known where its owner has signed in lately, and goes on there when a count is used up:
a whole hospital may share one address, and neither its waiting room nor somebody far away may lock
its people out. Whoever is wrong hears what all others there hear, so that the answer doesn't tell
who is known.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from allauth.account.adapter import get_adapter
from django.contrib.auth import authenticate
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from redis.exceptions import RedisError

from accounts.models import User
from accounts.selectors import user_by_email
from accounts.sign_in.trail import account_guessed
from drservice.common.client_address import network_of
from drservice.common.rate_limits import RateLimit, TooOften

log = logging.getLogger(__name__)

FAILURES = RateLimit(
    name="sign-in",
    most=100,
    window_s=15 * 60,
    refusal="Too many sign-ins failed from your network. Wait 15 minutes and try again.",
)
# Of a code's million three are right at a time: a day's hundred guesses hit one in 3 000 times.
ACCOUNT = RateLimit(
    name="account",
    most=100,
    window_s=24 * 3600,
    refusal=(
        "Too many sign-ins with this e-mail failed, here or elsewhere. For a day it is let in only "
        "from where it signs in usually. If you are somewhere new, choose a new password by "
        "“Password forgotten?”: that opens this place to you."
    ),
    closes=True,
)
# What is left to a known e-mail when a count is used up: as much as axes lets anybody try.
CHANCES = RateLimit(name="known", most=10, window_s=15 * 60, refusal=FAILURES.refusal, closes=True)
CODES = RateLimit(
    name="code",
    most=5,
    window_s=5 * 60,
    refusal="Too many wrong codes. Wait five minutes and try again.",
    closes=True,
)
OLD_PASSWORDS = RateLimit(
    name="old-password",
    most=10,
    window_s=15 * 60,
    refusal="Too many tries. Wait 15 minutes and try again.",
)
KNOWN_FOR_S = 30 * 24 * 3600
TOLD = "account-guessed:"
MAIL = "account/email/account_guessed"
# What is guessed of an account; each has a count of its own.
PASSWORDS, SECOND_FACTORS = "password", "code"


def password_checked(
    request: HttpRequest, *, email: str, password: str, over_limit: TooOften | None = None
) -> User | None:
    """Return whose e-mail and password these are, if anybody's.

    Raises TooOften where a count is used up, `over_limit` for one that the caller keeps: to e-mails
    that aren't known at the address in any case, to known ones when the password is wrong.
    """
    address, account = address_of(request), _account(email, PASSWORDS)
    refusal = over_limit or _fault_of(FAILURES.require_room, network_of(address))
    if refusal and not _has_a_chance(address, email):
        raise refusal
    # Before the try, not after it: many at the same instant must be no more than one by one.
    account_refusal = _fault_of(ACCOUNT.take, account)
    if account_refusal and not refusal and not _has_a_chance(address, email):
        raise account_refusal
    refusal = refusal or account_refusal
    user = authenticate(request, email=email, password=password)
    if user is not None:
        ACCOUNT.give_back(account)
        return user
    FAILURES.count(network_of(address))
    _tell_if_reached(request, email, PASSWORDS)
    if refusal:
        raise refusal
    return None


@contextmanager
def code_checked(request: HttpRequest, user: User) -> Iterator[None]:
    """Count a code of a second factor as wrong when ValidationError is raised within.

    For each person at each address, and for each person: raises TooOften when either is used up,
    the latter only where they aren't known. Apart from the passwords, which anybody can guess: who
    comes here has proved one factor, and strangers must not close this step. The caller lets no
    two codes of one person be checked at once.
    """
    address, account = address_of(request), _account(user.email, SECOND_FACTORS)
    place = _place(address, user.email)
    CODES.require_room(place)
    try:
        ACCOUNT.take(account)
    except TooOften:
        if not is_known(address=address, email=user.email):
            raise
    try:
        yield
    except ValidationError:
        CODES.count(place)
        _tell_if_reached(request, user.email, SECOND_FACTORS)
        raise
    ACCOUNT.give_back(account)


def address_remember(*, address: str, email: str) -> None:
    """Remember that an e-mail's owner has proved at an address who they are.

    Nobody is turned away because it can't be remembered.
    """
    try:
        cache.set(_known_key(address, email), 1, KNOWN_FOR_S)
    except RedisError as error:
        log.warning("address_not_remembered error=%s", type(error).__name__)


def is_known(*, address: str, email: str) -> bool:
    return cache.get(_known_key(address, email)) is not None


def address_of(request: HttpRequest) -> str:
    return request.META.get("REMOTE_ADDR", "")


def network_behind(request: HttpRequest) -> str:
    """Return what axes counts by: without it, each address of a network would begin anew."""
    return network_of(address_of(request))


def _fault_of(ask: Callable[[str], None], who: str) -> TooOften | None:
    try:
        ask(who)
    except TooOften as fault:
        return fault
    return None


def _has_a_chance(address: str, email: str) -> bool:
    """Tell whether an e-mail may be tried although a count is used up, and count that."""
    known = is_known(address=address, email=email)
    return known and _fault_of(CHANCES.take, _place(address, email)) is None


def _tell_if_reached(request: HttpRequest, email: str, guessed: str) -> None:
    """Tell the trail and the owner, once a day, that their account's count is used up."""
    account = _account(email, guessed)
    if ACCOUNT.has_room(account) or not cache.add(TOLD + account, 1, ACCOUNT.window_s):
        return
    user = user_by_email(email)
    account_guessed(email, user, address_of(request))
    if user is not None and user.is_active:
        told = {"codes": guessed == SECOND_FACTORS}
        get_adapter(request).send_notification_mail(MAIL, user, told, email=user.email)


def _account(email: str, guessed: str) -> str:
    return _hashed(f"{guessed} {email.strip().lower()}")


def _known_key(address: str, email: str) -> str:
    return "known:" + _place(address, email)


def _place(address: str, email: str) -> str:
    return _hashed(f"{network_of(address)} {email.strip().lower()}")


def _hashed(text: str) -> str:
    # Neither an e-mail nor who works where can be read out of Redis.
    return salted_hmac("accounts.sign_in.guesses", text, algorithm="sha256").hexdigest()
