"""Erase a patient: one person asks, another one decides, and nothing of the patient remains.

The records go in one transaction; it notes the folders of the stored files, which go right after.
Whoever is killed between the two leaves that note, and the sweep goes on from it.
"""

import datetime as dt
import logging

from bson import ObjectId
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.services import audit_record, audited, in_audited_transaction
from accounts.audit.subject_keys import subject_key_destroy
from accounts.limits.services import usage_set
from accounts.models import User
from drservice.common.errors import ServiceFault
from drservice.common.storage import folder_delete
from workspace.models import Case, Erasure, Patient, PatientMerge, RetentionPolicy
from workspace.patients.keeping import require_erasable
from workspace.schemas import ErasureReason, ErasureState
from workspace.selectors import photographs_stored
from workspace.services import PatientGone, patient_secure

log = logging.getLogger(__name__)

RULE = "The hospital's retention rule"


class ErasureRefused(ServiceFault):
    """The erasure can't be asked for or decided like this."""


@audited
def erasure_ask(*, patient: Patient, by: User, reason: str) -> Erasure:
    """Ask for the erasure of a patient; asking twice is the same as asking once.

    Post-state: ASKED. Raises RecordKept, PatientGone.
    """
    patient = patient_secure(patient.pk)
    require_erasable(patient)
    asked = erasure_open(patient)
    if asked is not None:
        return asked
    erasure = Erasure(
        hospital_id=patient.hospital_id,
        patient_id=patient.pk,
        reason=ErasureReason(reason),
        asked_by=by.name,
        asked_by_id=str(by.pk),
    )
    erasure.save()
    _record(Action.ERASE_ASK, erasure)
    return erasure


def erasure_open(patient: Patient) -> Erasure | None:
    """Return the erasure of a patient that waits to be decided, or None."""
    return Erasure.objects.filter(patient_id=patient.pk, state=ErasureState.ASKED).first()


def erasure_list(*, start: int, count: int) -> list[Erasure]:
    """Return some of the hospital's erasures, the newest first."""
    return list(Erasure.objects.order_by("-asked_at")[start : start + count])


@audited
def erasure_withdraw(*, patient: Patient, by: User) -> None:
    """Take back what was asked for a patient; nothing happens when there is nothing."""
    asked = erasure_open(patient)
    if asked is not None:
        _decide(asked, ErasureState.WITHDRAWN, by.name)
        _record(Action.ERASE_DECLINE, asked)


@audited
def erasure_decline(*, erasure: Erasure, by: User) -> None:
    """Decide against an erasure. Post-state: DECLINED. Raises ErasureRefused when it is decided."""
    erasure = _asked(erasure.pk)
    _decide(erasure, ErasureState.DECLINED, by.name)
    _record(Action.ERASE_DECLINE, erasure)


def erasure_confirm(*, erasure: Erasure, by: User, reference: str) -> Erasure:
    """Erase a patient for good.

    `reference` is what the asker has told the confirmer, who sees no patient. Pre-state: ASKED, by
    somebody else; no hold, no running retention period. Post-state: ERASED. Raises ErasureRefused,
    RecordKept.
    """
    if erasure.asked_by_id == str(by.pk):
        raise ErasureRefused("Somebody else has to confirm what you asked for.")
    if reference.strip().upper() != erasure.reference:
        raise ErasureRefused("This is not the reference of this erasure. Ask who asked for it.")
    erased = in_audited_transaction(lambda: _erase(erasure.pk, by.name))
    return erasure_files_delete(erased)


def erasure_by_rule(*, patient: Patient) -> Erasure:
    """Erase a patient whose time is over, as the hospital has decided for all such records.

    Post-state: ERASED. Raises RecordKept, ErasureRefused.
    """
    erasure = Erasure(
        hospital_id=patient.hospital_id,
        patient_id=patient.pk,
        reason=ErasureReason.KEPT_LONG_ENOUGH,
        asked_by=RULE,
    )

    def ask_and_erase() -> Erasure:
        erasure.save(force_insert=True)
        return _erase(erasure.pk, RULE)

    return erasure_files_delete(in_audited_transaction(ask_and_erase))


def erasure_files_delete(erasure: Erasure) -> Erasure:
    """Delete what an erased patient's cases have stored.

    A worker or an upload that was under way may store one more file and die; so the folders are
    looked into once more when that can't be any longer.
    """
    for folder in erasure.folders:
        folder_delete(folder)
    usage_set(hospital_id=erasure.hospital_id, stored=photographs_stored())
    if timezone.now() > erasure.decided_at + settled_after():
        erasure.files_gone_at = timezone.now()
        erasure.save(update_fields=["files_gone_at"])
    return erasure


def erasures_finish() -> int:
    """Go on with erasures whose files may not all be gone. Return how many there were.

    Reads the open scope's hospital alone.
    """
    unfinished = list(Erasure.objects.filter(state=ErasureState.ERASED, files_gone_at=None))
    for erasure in unfinished:
        erasure_files_delete(erasure)
    return len(unfinished)


def settled_after() -> dt.timedelta:
    """Return how long a worker can still be at a case that is gone."""
    return dt.timedelta(seconds=settings.GRADING_LIMIT_S + settings.GRADING_LEASE_S + 600)


def _erase(erasure_pk: ObjectId, by: str) -> Erasure:
    erasure = _asked(erasure_pk)
    RetentionPolicy.objects.secure(erasure.hospital_id)
    patient = _secured(erasure)
    require_erasable(patient)
    erasure.folders = _records_delete(patient)
    _decide(erasure, ErasureState.ERASED, by)
    # Without the patient's key the event keeps the reason alone, which is one of a list.
    _record(Action.ERASE, erasure)
    return erasure


def _asked(erasure_pk: ObjectId) -> Erasure:
    """Return an erasure that waits to be decided. Raises ErasureRefused."""
    erasure = Erasure.objects.get(pk=erasure_pk)
    if erasure.state != ErasureState.ASKED:
        raise ErasureRefused("This erasure is decided already.")
    return erasure


def _decide(erasure: Erasure, state: ErasureState, by: str) -> None:
    erasure.state, erasure.decided_by, erasure.decided_at = state, by, timezone.now()
    erasure.save(update_fields=["folders", "state", "decided_by", "decided_at"])


def _record(action: Action, erasure: Erasure) -> None:
    audit_record(
        action=action,
        subject_kind="patient",
        subject_id=erasure.patient_id,
        reason=erasure.get_reason_display(),
    )


def _secured(erasure: Erasure) -> Patient:
    try:
        return patient_secure(erasure.patient_id)
    except PatientGone as error:
        raise ErasureRefused(
            "The record was merged into another one since the erasure was asked for. Decline it, "
            "and let the erasure be asked for again."
        ) from error


def _records_delete(patient: Patient) -> list[str]:
    """Delete a patient, what was merged into them, and their cases; return the files' folders."""
    pks = [patient.pk, *(one.pk for one in Patient.objects.tombstones_of(patient.pk))]
    case_pks = Case.objects.pks_of(pks)
    Case.objects.erase(case_pks)
    Patient.objects.erase(pks)
    # Also the merges that were undone: their reasons may name the patient.
    PatientMerge.objects.filter(Q(survivor_id__in=pks) | Q(merged_id__in=pks)).delete()
    for pk in pks:
        subject_key_destroy(pk, hospital_id=patient.hospital_id)
    log.info("patient_erased hospital=%s cases=%s", patient.hospital_id, len(case_pks))
    return [f"{patient.hospital_id}/{case_pk}" for case_pk in case_pks]
