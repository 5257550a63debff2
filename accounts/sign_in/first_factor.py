"""A second proof beside the password, before an account gets its first second factor.

Who guessed a password could else set up a telephone of their own and be in for good. So a code goes
to the person's mail. It counts once, for ten minutes, and in the session that asked for it; where
mail doesn't reach, whoever runs the service hands one over. Redis keeps a keyed hash of it, and
forgets that by itself.
"""

import secrets

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import record_authentication
from allauth.core.internal.cryptokit import generate_user_code, normalize_user_code
from django.core.cache import cache
from django.http import HttpRequest
from django.urls import reverse
from django.utils.crypto import constant_time_compare

from accounts.audit.accounts import account_record
from accounts.audit.actions import Action
from accounts.keys.sealing import platform_hash
from accounts.models import User
from accounts.sign_in.selectors import MAIL_PROOF
from drservice.common.rate_limits import RateLimit

CODE_GOOD_FOR_S = 10 * 60
SESSION_ASKED = "first_factor_asked"
HANDED_OVER = "handed over"

MAILS = RateLimit(
    name="first-factor-mail",
    most=5,
    window_s=3600,
    refusal="Five codes were mailed to you within an hour. Wait an hour and try again.",
    closes=True,
)
TRIES = RateLimit(
    name="first-factor-code",
    most=5,
    window_s=CODE_GOOD_FOR_S,
    refusal="Too many wrong codes. Wait ten minutes, and have a new one sent.",
    closes=True,
)


def code_mail(request: HttpRequest) -> None:
    """Mail the caller a code for their session; one that was mailed before is void.

    Raises TooOften, and AuditUnavailable; then nothing is mailed.
    """
    user = request.user
    MAILS.take(user.pk)
    account_record(Action.MFA_CODE, user, reason="Mailed")
    _forget(request)
    asked = request.session[SESSION_ASKED] = secrets.token_urlsafe(16)
    context = {
        "code": _new_code(user, asked),
        "minutes": CODE_GOOD_FOR_S // 60,
        "new_password_url": request.build_absolute_uri(reverse("account_reset_password")),
    }
    get_adapter(request).send_notification_mail(
        "mfa/email/first_factor_code", user, context, email=user.email
    )


def code_hand_over(*, user: User) -> str:
    """Return a code that counts in any session of a person; one handed over before is void.

    Raises AuditUnavailable.
    """
    account_record(Action.MFA_CODE, user, reason="Handed over")
    return _new_code(user, HANDED_OVER)


def is_code_awaited(request: HttpRequest) -> bool:
    """Tell whether a code that was mailed for this session still counts."""
    asked = request.session.get(SESSION_ASKED)
    return asked is not None and cache.get(_key(request.user, asked)) is not None


def code_take(request: HttpRequest, code: str) -> bool:
    """Tell whether a code counts for the caller. If so it is used up, and the session is proven.

    Raises TooOften, then without looking at the code, and AuditUnavailable.
    """
    user = request.user
    TRIES.take(user.pk)
    if not _use_up(request, code):
        account_record(Action.SIGN_IN_FAILED, user, reason="A wrong code for a first second factor")
        return False
    account_record(Action.MFA_CODE, user, reason="Entered")
    proof_keep(request, MAIL_PROOF)
    return True


def proof_keep(request: HttpRequest, proof: str) -> None:
    """Remember for as long as the session lasts that the caller has shown more than a password."""
    request.session.pop(SESSION_ASKED, None)
    record_authentication(request, request.user, proof, reauthenticated=True)


def _use_up(request: HttpRequest, code: str) -> bool:
    user = request.user
    for place in (request.session.get(SESSION_ASKED), HANDED_OVER):
        if place is None:
            continue
        key = _key(user, place)
        is_right = constant_time_compare(cache.get(key, ""), _hash(user, place, code))
        # Of two requests at the same instant, one deletes it.
        if is_right and cache.delete(key):
            return True
    return False


def _forget(request: HttpRequest) -> None:
    asked = request.session.pop(SESSION_ASKED, None)
    if asked is not None:
        cache.delete(_key(request.user, asked))


def _new_code(user: User, place: str) -> str:
    """Return eight letters at random, 34 bits, of which a hash is kept."""
    code = generate_user_code(length=8)
    cache.set(_key(user, place), _hash(user, place, code), CODE_GOOD_FOR_S)
    return code


def _key(user: User, place: str) -> str:
    return f"first-factor:{user.pk}:{platform_hash(place, 'first-factor place')}"


def _hash(user: User, place: str, code: str) -> str:
    return platform_hash(f"{user.pk} {place} {normalize_user_code(code)}", "first-factor code")
