"""What platform operators change about hospitals: each act is one transaction with its events."""

from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.announcements import access_announce
from accounts.audit.actions import Action
from accounts.audit.chain import PLATFORM
from accounts.audit.services import audit_record, audited
from accounts.models import Hospital, Membership, User
from accounts.permissions import Role
from accounts.selectors import user_by_email
from accounts.services import first_password, hospital_create, membership_create, user_create

NAME_TAKEN = "A hospital with this name already exists."
HAS_ACCOUNT = (
    "Somebody has an account with this e-mail already, and joins a hospital only by accepting an "
    "invitation. Add the hospital on the operators' pages, which invite its first admin."
)


@audited
def hospital_register(*, name: str) -> Hospital:
    """Make a hospital in which nobody works yet. Raises ValidationError when the name is taken."""
    hospital = hospital_create(name=name)
    _record(hospital, Action.CREATE, after={"name": hospital.name})
    return hospital


def hospital_add(*, name: str, admin_email: str, admin_name: str) -> tuple[Hospital, str]:
    """Make a hospital and its first admin without any mail. Returns it and a first password.

    Raises ValidationError for a taken name, a bad e-mail, or one that has an account, and then
    makes neither.
    """
    try:
        return _added(name, admin_email, admin_name)
    except IntegrityError as error:
        raise ValidationError(NAME_TAKEN) from error


def hospital_rename(*, hospital: Hospital, name: str, reason: str) -> Hospital:
    """Give a hospital another name. Raises ValidationError when it is taken or empty."""
    try:
        return _changed(hospital, Action.CHANGE, reason, name=" ".join(name.split()))
    except IntegrityError as error:
        raise ValidationError(NAME_TAKEN) from error


def hospital_close(*, hospital: Hospital, reason: str) -> Hospital:
    """Shut a hospital's members out from their next click on; its records stay as they are."""
    return _announced(_changed(hospital, Action.DEACTIVATE, reason, is_active=False))


def hospital_open(*, hospital: Hospital, reason: str) -> Hospital:
    """Let the members of a closed hospital in again."""
    return _changed(hospital, Action.ACTIVATE, reason, is_active=True)


def hospital_set_mfa(*, hospital: Hospital, mfa_required: bool, reason: str) -> Hospital:
    """Say whether everybody who works in a hospital needs a second factor."""
    return _announced(_changed(hospital, Action.CHANGE, reason, mfa_required=mfa_required))


@audited
def _added(name: str, admin_email: str, admin_name: str) -> tuple[Hospital, str]:
    User(email=admin_email, name=admin_name).clean_fields(exclude=["password"])
    hospital, password = hospital_register(name=name), first_password()
    if user_by_email(admin_email) is not None:
        raise ValidationError(HAS_ACCOUNT)
    admin = user_create(
        email=admin_email, name=admin_name, password=password, must_change_password=True
    )
    membership_create(user=admin, hospital=hospital, roles=[Role.HOSPITAL_ADMIN])
    return hospital, password


@audited
def _changed(hospital: Hospital, action: Action, reason: str, **values) -> Hospital:
    """Change fields of a hospital as it is now; what changes nothing leaves no event."""
    hospital.refresh_from_db()
    before = {name: getattr(hospital, name) for name in values}
    if before == values:
        return hospital
    for name, value in values.items():
        setattr(hospital, name, value)
    hospital.full_clean()
    hospital.save(update_fields=list(values))
    _record(hospital, action, before=before, after=values, reason=reason)
    return hospital


def _announced(hospital: Hospital) -> Hospital:
    """Let everything that the hospital's people have open ask at once whether it may go on."""
    for membership in Membership.objects.active().filter(hospital=hospital):
        access_announce(membership.user_id)
    return hospital


def _record(hospital: Hospital, action: Action, **told) -> None:
    """Keep an act on both chains: the platform's, and that of the hospital whom it concerns."""
    for chain in (PLATFORM, hospital.pk):
        audit_record(
            action=action,
            subject_kind="hospital",
            subject_id=hospital.pk,
            hospital_id=chain,
            **told,
        )
