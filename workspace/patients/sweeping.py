"""Look through all hospitals for records whose time is over, and finish what was broken off."""

import datetime as dt
import logging
from dataclasses import dataclass

from django.core.files.storage import default_storage
from django.utils import timezone

from accounts.audit.errors import AuditUnavailable
from accounts.models import Hospital
from accounts.scoping import hospital_scope
from accounts.selectors import hospital_list
from drservice.common.errors import ServiceFault
from workspace.patients.erasing import erasure_by_rule, erasures_finish
from workspace.patients.keeping import DueRecord, records_due, retention_policy

log = logging.getLogger(__name__)

# No upload takes longer than this.
BROKEN_OFF_AFTER = dt.timedelta(days=1)


@dataclass(frozen=True)
class HospitalSweep:
    """What a sweep found at one hospital. `erases` says whether what is due goes by itself."""

    hospital: Hospital
    due: list[DueRecord]
    erases: bool
    erased: int = 0


def records_sweep(*, dry_run: bool = False) -> list[HospitalSweep]:
    """Look at every hospital, erase what is due where it decided so, and finish erasures.

    A dry run only looks.
    """
    sweeps = [_sweep(hospital, dry_run=dry_run) for hospital in hospital_list()]
    if not dry_run:
        _broken_uploads_delete()
    return sweeps


def _sweep(hospital: Hospital, *, dry_run: bool) -> HospitalSweep:
    with hospital_scope(hospital.pk):
        policy = retention_policy(hospital.pk)
        due = records_due(policy, timezone.now())
        if dry_run:
            return HospitalSweep(hospital, due, policy.erase_when_due)
        erasures_finish()
        erased = sum(_erased(record) for record in due) if policy.erase_when_due else 0
    log.info("records_swept hospital=%s due=%s erased=%s", hospital.pk, len(due), erased)
    return HospitalSweep(hospital, due, policy.erase_when_due, erased)


def _erased(record: DueRecord) -> bool:
    """Erase one record; whatever hinders that must not hold up the others."""
    try:
        erasure_by_rule(patient=record.patient)
    except (ServiceFault, AuditUnavailable) as fault:
        log.warning("erasure_put_off patient=%s why=%s", record.patient.pk, type(fault).__name__)
        return False
    return True


def _broken_uploads_delete() -> None:
    """Delete the pieces of photographs that never arrived whole, which no record leads to."""
    if hasattr(default_storage, "delete_orphans"):
        deleted = default_storage.delete_orphans(timezone.now() - BROKEN_OFF_AFTER)
        if deleted:
            log.info("broken_uploads_deleted count=%s", deleted)
