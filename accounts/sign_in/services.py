"""Change what protects an account and where it is signed in, and send mail about it."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from bson import ObjectId
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F

from accounts.announcements import access_announce
from accounts.audit.accounts import account_record
from accounts.audit.actions import Action
from accounts.audit.services import audited
from accounts.models import User
from accounts.sign_in.trail import directory_linked

log = logging.getLogger(__name__)

# Mail goes out beside the answer: how long a mail server takes must not tell whom it was for.
_post = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mail")


def is_recent(records: list[dict]) -> bool:
    """Tell whether one of a session's proofs of identity is minutes old at most."""
    since_s = time.time() - settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
    return any(record["at"] > since_s for record in records)


@audited
def session_end(*, session: UserSession) -> None:
    """Sign one browser out: its next request finds no session."""
    session.end()
    access_announce(session.user_id)
    account_record(Action.SESSION_END, session.user)


@audited
def sessions_end(*, user: User, except_key: str = "") -> int:
    """Sign a person out everywhere, but for the session with the key `except_key`.

    Returns how many listed sessions that were. The session that is to go on needs Django's
    `update_session_auth_hash`.
    """
    ended = sessions_outdate(user=user, except_key=except_key)
    account_record(Action.SESSION_END, user, after={"sessions": ended})
    return ended


def sessions_outdate(*, user: User, except_key: str) -> int:
    """Do what `sessions_end` does as a part of another change, whose event stands for it.

    Not by the list of sessions alone: one that has not clicked yet isn't on it, and one that is
    being opened at this instant neither.
    """
    User.objects.filter(pk=user.pk).update(sessions_version=F("sessions_version") + 1)
    user.refresh_from_db(fields=["sessions_version"])
    sessions = list(UserSession.objects.filter(user_id=user.pk).exclude(session_key=except_key))
    for session in sessions:
        session.end()
    access_announce(user.pk)
    return len(sessions)


@audited
def second_factors_remove(*, user: User) -> int:
    """Take away everything that a person lost with their telephone; ends their sessions.

    Returns how many things that were. They sign in with their password again, and are led to set
    up a new second factor where one is asked for.
    """
    removed, _ = Authenticator.objects.filter(user_id=user.pk).delete()
    account_record(Action.MFA_REMOVE, user, after={"removed": removed})
    sessions_end(user=user)
    return removed


def user_trust_directory(*, user: User) -> User:
    """Take a person as proven by their hospital's directory, which may open their account now.

    A first password, which somebody else has seen, stops working: whoever knows it could else come
    back behind the person who never had to change it. Raises AuditUnavailable.
    """
    _trust_directory(user.pk)
    user.refresh_from_db(fields=["password", "must_change_password"])
    return user


@audited
def _trust_directory(user_pk: ObjectId) -> None:
    user = User.objects.get(pk=user_pk)
    ends_first_password = user.must_change_password
    if ends_first_password:
        user.set_unusable_password()
        user.must_change_password = False
        user.save(update_fields=["password", "must_change_password"])
    directory_linked(user, ends_first_password=ends_first_password)


def mail_send(message: EmailMessage) -> None:
    """Send a mail, later unless settings say at once. What goes wrong is logged, not raised."""
    if settings.MAIL_IN_BACKGROUND:
        _post.submit(_send, message)
    else:
        _send(message)


def _send(message: EmailMessage) -> None:
    try:
        message.send()
    except Exception as error:  # noqa: BLE001
        # A mail server may fail in many ways; the change that the mail tells of has been made.
        # By its kind alone: what mail servers answer names whom the mail was for.
        log.error("mail_failed error=%s", type(error).__name__)
