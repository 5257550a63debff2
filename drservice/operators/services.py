"""What operators do with a hospital: bring in its admins, and say how much it may upload."""

import datetime as dt

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.chain import PLATFORM
from accounts.audit.services import audit_record, audited
from accounts.hospital_services import NAME_TAKEN, hospital_register
from accounts.limits.services import quota_set
from accounts.models import Hospital, User
from accounts.people.selectors import invitation_pending
from accounts.people.services import Issued, invitation_create, invitation_send_again
from accounts.permissions import Role
from accounts.selectors import active_admins

ADMIN_ALONE = [Role.HOSPITAL_ADMIN]
# An admin who has not been seen for so long may have left without handing over.
AT_WORK = dt.timedelta(days=30)
HAS_ADMIN = (
    "This hospital has an admin who was here within 30 days: they invite further people. Who runs "
    "the platform sees no patient, and brings in an admin only where there is none."
)


def hospital_add(
    *, name: str, admin_name: str, admin_email: str, by: User, mail_from: str = ""
) -> Issued:
    """Make a hospital and invite its first admin. Returns the invitation with its token.

    Raises ValidationError for a taken name or a bad e-mail, and then makes neither.
    """
    try:
        return _added(name, mail_from=mail_from, by=by, admin=(admin_name, admin_email))
    except IntegrityError as error:
        raise ValidationError(NAME_TAKEN) from error


@audited
def hospital_limit(*, hospital: Hospital, limits: dict[str, int | None], reason: str) -> None:
    """Change how much a hospital may upload; None is the service's default.

    The change stands on the hospital's own trail, and on the platform's: who raised whose limits.
    """
    quota_set(hospital_id=hospital.pk, limits=limits, reason=reason)
    audit_record(
        action=Action.CHANGE,
        subject_kind="quota",
        subject_id=hospital.pk,
        hospital_id=PLATFORM,
        after=limits,
        reason=reason,
    )


@audited
def admin_invite(
    *, hospital: Hospital, name: str, email: str, by: User, mail_from: str = ""
) -> Issued:
    """Invite an admin; one who is invited already gets a new link, and the old one is void.

    Raises ValidationError when the address belongs to a member, or is invited in another role, and
    while an admin is at work there: else an operator could let themselves in.
    """
    _require_no_admin_at_work(hospital)
    earlier = invitation_pending(hospital, email)
    if earlier is not None and earlier.roles == ADMIN_ALONE:
        return invitation_send_again(invitation=earlier, mail_from=mail_from)
    return invitation_create(
        hospital=hospital, email=email, name=name, roles=ADMIN_ALONE, by=by, mail_from=mail_from
    )


@audited
def _added(name: str, *, admin: tuple[str, str], by: User, mail_from: str) -> Issued:
    hospital, (admin_name, admin_email) = hospital_register(name=name), admin
    return admin_invite(
        hospital=hospital, name=admin_name, email=admin_email, by=by, mail_from=mail_from
    )


def _require_no_admin_at_work(hospital: Hospital) -> None:
    seen = [admin.last_seen_at for admin in active_admins(hospital.pk) if admin.last_seen_at]
    if any(timezone.now() - at < AT_WORK for at in seen):
        raise ValidationError(HAS_ADMIN)
