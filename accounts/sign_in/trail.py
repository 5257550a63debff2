"""What signing in puts on the audit trail beyond what allauth and axes tell it."""

from bson import ObjectId

from accounts.audit.accounts import account_record
from accounts.audit.actions import Action
from accounts.audit.actors import anonymous
from accounts.keys.sealing import platform_hash
from accounts.models import User
from accounts.selectors import user_by_email

# Stands in for somebody unknown, so that asking for them takes as long as for others.
NOBODY = User(id=ObjectId(bytes(12)))


def reset_asked(email: str) -> None:
    """Keep that a new password was asked for. Of an e-mail that is nobody's only a hash is kept."""
    user = user_by_email(email)
    subject = _subject(email, user)
    reason = "A link was asked for"
    account_record(Action.PASSWORD_RESET, user or NOBODY, subject_id=subject, reason=reason)


def account_guessed(email: str, user: User | None, address: str) -> None:
    """Keep that an e-mail, which may be nobody's, was tried too often, and the last time whence."""
    account_record(
        Action.LOCK_OUT,
        user or NOBODY,
        subject_id=_subject(email, user),
        actor=anonymous(address),
        reason="Too many wrong sign-ins in a day, from wherever",
    )


def directory_refused(email: str, user: User | None) -> None:
    """Keep that a directory vouched for somebody who may not come in that way."""
    account_record(
        Action.SIGN_IN_FAILED,
        user or NOBODY,
        subject_id=_subject(email, user),
        reason="Vouched for by the directory, but not let in by it",
    )


def closed_refused(user: User) -> None:
    """Keep that somebody proved to be a person whose account is closed."""
    account_record(Action.SIGN_IN_FAILED, user, reason="The account is closed")


def directory_linked(user: User, *, ends_first_password: bool) -> None:
    """Keep that a directory may open somebody's account from now on."""
    voided = {"first_password": "void"} if ends_first_password else {}
    account_record(Action.CHANGE, user, after={"directory": "linked", **voided})


def passkey_refused(user: User | None) -> None:
    """Keep that a passkey's answer was wrong; of one that stood alone nobody knows whose it was."""
    account_record(Action.SIGN_IN_FAILED, user or NOBODY, reason="A wrong passkey")


def old_password_refused(user: User) -> None:
    """Keep that somebody at an open page didn't know the password that they wanted to change."""
    account_record(Action.SIGN_IN_FAILED, user, reason="A wrong old password")


def _subject(email: str, user: User | None) -> str:
    return str(user.pk) if user else platform_hash(email.strip().lower(), "sign-in e-mail")
