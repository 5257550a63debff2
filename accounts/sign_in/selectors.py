"""Read what protects an account, and where it is signed in."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from bson import ObjectId
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import User
from accounts.selectors import has_mfa

# The list is told of a click once a minute at most.
SEEN_LATE_S = 90
# Proofs in a session's records beyond a password that others may know: the person's mail, the
# secret by which the account was made, and the word of their directory.
MAIL_PROOF, INVITATION_PROOF = "mail", "invitation"
BEYOND_THE_PASSWORD = {MAIL_PROOF, INVITATION_PROOF, "socialaccount"}


@dataclass(frozen=True)
class SecondFactors:
    """What a person has set up; `codes_left` counts recovery codes that were not used yet."""

    app: Authenticator | None
    passkeys: list[Authenticator]
    codes_left: int

    def __bool__(self) -> bool:
        return bool(self.app or self.passkeys)

    @property
    def count(self) -> int:
        return bool(self.app) + len(self.passkeys)


def has_second_factor(user: User) -> bool:
    return bool(has_mfa([user.pk]))


def needs_mail_proof(request: HttpRequest) -> bool:
    """Tell whether the caller must read their mail before they set up a first second factor."""
    if has_second_factor(request.user):
        return False
    records = get_authentication_records(request, request.user)
    return not any(record["method"] in BEYOND_THE_PASSWORD for record in records)


def second_factors_of(user: User) -> SecondFactors:
    by_type = {}
    for authenticator in Authenticator.objects.filter(user_id=user.pk).order_by("created_at"):
        by_type.setdefault(authenticator.type, []).append(authenticator)
    codes = by_type.get(Authenticator.Type.RECOVERY_CODES, [])
    return SecondFactors(
        app=next(iter(by_type.get(Authenticator.Type.TOTP, [])), None),
        passkeys=by_type.get(Authenticator.Type.WEBAUTHN, []),
        codes_left=sum(len(one.wrap().get_unused_codes()) for one in codes),
    )


def passkey_of(user: User, pk: ObjectId) -> Authenticator | None:
    passkeys = Authenticator.objects.filter(type=Authenticator.Type.WEBAUTHN)
    return passkeys.filter(user_id=user.pk, pk=pk).first()


def sessions_of(user: User) -> list[UserSession]:
    """Return where a person is signed in, the last seen first.

    A session that nobody came back to is over, though its document is still there.
    """
    sessions = UserSession.objects.purge_and_list(user)
    alive = [session for session in sessions if session.last_seen_at > _idle_since()]
    return sorted(alive, key=lambda session: session.last_seen_at, reverse=True)


def session_of(user: User, pk: ObjectId) -> UserSession | None:
    return UserSession.objects.filter(user_id=user.pk, pk=pk).first()


def is_this_session(session: UserSession, request: HttpRequest) -> bool:
    return session.session_key == request.session.session_key


def device_in_words(user_agent: str) -> str:
    """Say in a few words what a browser says of itself in many: "Firefox on Windows"."""
    browser = _first_of(BROWSERS, user_agent)
    system = _first_of(SYSTEMS, user_agent)
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "Unknown device"


# In this order: Edge also says Chrome, Chrome also says Safari, and telephones say more than one.
BROWSERS = {
    "Edg": "Edge",
    "OPR": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "CrOS": "ChromeOS",
    "Windows": "Windows",
    "Mac OS": "macOS",
    "Linux": "Linux",
}


def _first_of(names: dict[str, str], user_agent: str) -> str:
    return next((name for sign, name in names.items() if sign in user_agent), "")


def _idle_since() -> datetime:
    return timezone.now() - timedelta(seconds=settings.SESSION_IDLE_S + SEEN_LATE_S)
