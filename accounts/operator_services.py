"""Change who runs the platform: each act is one transaction with its event."""

from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.audit.actions import Action
from accounts.audit.chain import PLATFORM
from accounts.audit.services import audit_record, audited
from accounts.models import User
from accounts.selectors import active_operators, user_by_email
from accounts.services import first_password, user_create

HAS_ACCOUNT = (
    "Somebody has an account with this e-mail. Who runs the platform sees no patient, so an "
    "operator needs an account of their own with another e-mail."
)
LAST_OPERATOR = "This is the last active operator. Add another one first."


def operator_add(*, email: str, name: str) -> tuple[User, str]:
    """Make a platform operator. Returns them and a first password, which must be changed.

    Raises ValidationError when the e-mail belongs to an account, whatever it may do.
    """
    password = first_password()
    try:
        return _added(email, name, password), password
    except IntegrityError as error:
        raise ValidationError({"email": HAS_ACCOUNT}) from error


@audited
def operator_deactivate(*, user: User, reason: str) -> User:
    """Shut an operator out from their next click on. Raises ValidationError for the last one.

    Two who deactivate each other at once both move the head of the platform's chain, so one of
    them begins again and finds itself the last.
    """
    if [one.pk for one in active_operators()] == [user.pk]:
        raise ValidationError(LAST_OPERATOR)
    return _set_active(user, False, Action.DEACTIVATE, reason)


@audited
def operator_activate(*, user: User, reason: str) -> User:
    """Let a deactivated operator in again."""
    return _set_active(user, True, Action.ACTIVATE, reason)


@audited
def _added(email: str, name: str, password: str) -> User:
    if user_by_email(email) is not None:
        raise ValidationError({"email": HAS_ACCOUNT})
    fields = {"is_operator": True, "must_change_password": True}
    user = user_create(email=email, name=name, password=password, **fields)
    _record(user, Action.CREATE, after={"is_operator": True})
    return user


def _set_active(user: User, is_active: bool, action: Action, reason: str) -> User:
    user.refresh_from_db()
    before = {"is_active": user.is_active}
    user.is_active = is_active
    user.save(update_fields=["is_active"])
    _record(user, action, before=before, after={"is_active": is_active}, reason=reason)
    return user


def _record(user: User, action: Action, **told) -> None:
    audit_record(
        action=action, subject_kind="user", subject_id=user.pk, hospital_id=PLATFORM, **told
    )
