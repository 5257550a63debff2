"""What operators do with a hospital's people: they bring in its admins, and nobody else."""

from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.audit.services import audited
from accounts.hospital_services import NAME_TAKEN, hospital_register
from accounts.models import Hospital, User
from accounts.people.selectors import invitation_pending
from accounts.people.services import Issued, invitation_create, invitation_send_again
from accounts.permissions import Role

ADMIN_ALONE = [Role.HOSPITAL_ADMIN]


def hospital_add(*, name: str, admin_name: str, admin_email: str, by: User) -> Issued:
    """Make a hospital and invite its first admin. Returns the invitation with its token.

    Raises ValidationError for a taken name or a bad e-mail, and then makes neither.
    """
    try:
        return _added(name=name, admin_name=admin_name, admin_email=admin_email, by=by)
    except IntegrityError as error:
        raise ValidationError(NAME_TAKEN) from error


@audited
def admin_invite(*, hospital: Hospital, name: str, email: str, by: User) -> Issued:
    """Invite an admin; one who is invited already gets a new link, and the old one is void.

    Raises ValidationError when the address belongs to a member, or is invited in another role.
    """
    earlier = invitation_pending(hospital, email)
    if earlier is not None and earlier.roles == ADMIN_ALONE:
        return invitation_send_again(invitation=earlier)
    return invitation_create(hospital=hospital, email=email, name=name, roles=ADMIN_ALONE, by=by)


@audited
def _added(*, name: str, admin_name: str, admin_email: str, by: User) -> Issued:
    hospital = hospital_register(name=name)
    return admin_invite(hospital=hospital, name=admin_name, email=admin_email, by=by)
