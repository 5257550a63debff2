"""Delete invitations some weeks after they are over: nobody needs them, and they name people.

Who was invited, by whom, and who accepted stays in the audit trail, sealed as it is there.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.errors import AuditUnavailable
from accounts.audit.services import audit_record, audited
from accounts.models import Hospital, Invitation
from accounts.people.services import INVITATION
from accounts.scoping import hospital_scope
from accounts.selectors import hospital_list

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InvitationSweep:
    """How many invitations of one hospital were due, and how many of them were deleted."""

    hospital: Hospital
    due: int
    deleted: int = 0


def invitations_sweep(*, dry_run: bool = False) -> list[InvitationSweep]:
    """Delete what was over `INVITATION_KEEP_DAYS` ago, at every hospital. A dry run only counts."""
    moment = timezone.now() - timedelta(days=settings.INVITATION_KEEP_DAYS)
    return [_sweep(hospital, moment, dry_run=dry_run) for hospital in hospital_list()]


def _sweep(hospital: Hospital, moment: datetime, *, dry_run: bool) -> InvitationSweep:
    with hospital_scope(hospital.pk):
        due = Invitation.objects.filter(hospital=hospital).over_before(moment).count()
        if dry_run or not due:
            return InvitationSweep(hospital, due)
        try:
            deleted = _delete(hospital, moment)
        except AuditUnavailable:
            # The next sweep finds them again; the other hospitals' need not wait for it.
            log.warning("invitations_kept hospital=%s due=%s", hospital.pk, due)
            return InvitationSweep(hospital, due)
    log.info("invitations_deleted hospital=%s count=%s", hospital.pk, deleted)
    return InvitationSweep(hospital, due, deleted)


@audited
def _delete(hospital: Hospital, moment: datetime) -> int:
    """Delete what is over, with one event for all of it; one that was sent again stays."""
    over = Invitation.objects.filter(hospital=hospital).over_before(moment)
    deleted, _ = over.delete()
    audit_record(
        action=Action.DELETE,
        subject_kind=INVITATION,
        hospital_id=hospital.pk,
        after={"deleted": deleted, "over before": moment},
    )
    return deleted
