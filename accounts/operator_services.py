"""Change who runs the platform."""

import logging

from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.models import User
from accounts.selectors import active_operators, user_by_email
from accounts.services import first_password, user_create

log = logging.getLogger(__name__)

HAS_ACCOUNT = (
    "Somebody has an account with this e-mail. Who runs the platform sees no patient, so an "
    "operator needs an account of their own with another e-mail."
)
LAST_OPERATOR = "This is the last active operator. Add another one first."


def operator_add(*, email: str, name: str) -> tuple[User, str]:
    """Make a platform operator. Returns them and a first password, which must be changed.

    Raises ValidationError when the e-mail belongs to an account, whatever it may do.
    """
    if user_by_email(email) is not None:
        raise ValidationError({"email": HAS_ACCOUNT})
    password = first_password()
    fields = {"is_operator": True, "must_change_password": True}
    try:
        user = user_create(email=email, name=name, password=password, **fields)
    except IntegrityError as error:
        raise ValidationError({"email": HAS_ACCOUNT}) from error
    log.info("operator_added user=%s", user.pk)
    return user, password


def operator_deactivate(*, user: User, reason: str) -> User:
    """Shut an operator out from their next click on. Raises ValidationError for the last one."""
    if [one.pk for one in active_operators()] == [user.pk]:
        raise ValidationError(LAST_OPERATOR)
    return _set_active(user, False)


def operator_activate(*, user: User, reason: str) -> User:
    """Let a deactivated operator in again."""
    return _set_active(user, True)


def _set_active(user: User, is_active: bool) -> User:
    user.is_active = is_active
    user.save(update_fields=["is_active"])
    log.info("operator_%s user=%s", "activated" if is_active else "deactivated", user.pk)
    return user
