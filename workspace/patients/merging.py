"""Merge two records of one person, and undo it.

The record that goes keeps everything it said, and leads to the one that stays; its cases move.
Both steps are one transaction each, secured against everything else that hangs on the records.
"""

from bson import ObjectId
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.services import audited
from drservice.common.errors import ServiceFault
from workspace.events import case_announce
from workspace.models import Case, Patient, PatientMerge
from workspace.patients.consenting import (
    consents_join,
    consents_part,
    consents_said,
    parting_of,
)
from workspace.services import PatientGone, patient_copy, patient_secure
from workspace.trail import patient_facts, patient_record

MOVED = "Moved with the patient's record, which was merged with another one"
MOVED_BACK = "Moved back with the patient's record: its merge was undone"


class MergeRefused(ServiceFault):
    """These records can't be merged, or their merge can't be undone now."""


def patient_merge(*, survivor: Patient, merged: Patient, by: str, reason: str) -> PatientMerge:
    """Let one record go into another one of the same person.

    Pre-state: both live. Post-state: `merged` leads to `survivor`, which has the cases of both and
    agrees to what both agreed to.
    Raises MergeRefused for one record given twice, PatientGone when either is no longer live.
    """
    if survivor.pk == merged.pk:
        raise MergeRefused("A record can't be merged with itself.")
    merge = _merge(survivor_pk=survivor.pk, merged_pk=merged.pk, by=by, reason=reason)
    _announce(merge.case_ids)
    return merge


@audited
def _merge(*, survivor_pk: ObjectId, merged_pk: ObjectId, by: str, reason: str) -> PatientMerge:
    # In one order, whichever stays: of two merges of one pair the second finds a record gone.
    secured = {pk: patient_secure(pk) for pk in sorted((survivor_pk, merged_pk))}
    survivor, merged = secured[survivor_pk], secured[merged_pk]
    case_ids = Case.objects.pks_of([merged.pk])
    _move(case_ids, survivor, by, MOVED)
    Patient.objects.bury(pk=merged.pk, survivor_pk=survivor.pk)
    merge = PatientMerge(
        hospital_id=survivor.hospital_id,
        survivor_id=survivor.pk,
        merged_id=merged.pk,
        case_ids=case_ids,
        merged_by=by,
        reason=reason,
        merged_at=timezone.now(),
    )
    merge.consents_lowered = consents_join(survivor=survivor, merged=merged)
    merge.save()
    _record(Action.MERGE, merge, before=merged, after=survivor, reason=reason)
    return merge


def patient_unmerge(*, merged: Patient, by: str, reason: str) -> PatientMerge:
    """Undo the merge of a record.

    Pre-state: `merged` leads to a live record. Post-state: both are live; the cases that had
    moved are back, and those made since then stay where they are. Each says again what it said of
    consent; what was withdrawn from the one record neither agrees to. Raises MergeRefused when
    there is nothing to undo, or when a later merge has to be undone first.
    """
    merge = _unmerge(merged_pk=merged.pk, by=by, reason=reason)
    _announce(merge.case_ids)
    return merge


@audited
def _unmerge(*, merged_pk: ObjectId, by: str, reason: str) -> PatientMerge:
    merge = merge_of(merged_pk)
    if merge is None:
        raise MergeRefused("This record is not merged with another one any more.")
    survivor = _secure_survivor(merge)
    merged = Patient.objects.revive(merged_pk)
    _part_consents(merge, survivor, merged)
    _move(_still_there(merge), merged, by, MOVED_BACK)
    merge.undone_at, merge.undone_by, merge.undo_reason = timezone.now(), by, reason
    merge.save(update_fields=["undone_at", "undone_by", "undo_reason"])
    _record(Action.UNMERGE, merge, before=survivor, after=merged, reason=reason)
    return merge


def _part_consents(merge: PatientMerge, survivor: Patient, merged: Patient) -> None:
    parting = parting_of(merge, merged=merged, others=merges_into(survivor.pk))
    consents_part(parting, survivor=survivor, merged=merged)
    # A record that once went into the one that is live again is of the same person, too.
    said = patient_facts(merged)
    after = {**said, **dict.fromkeys(parting.withdrawn, False)}
    consents_said(said, after, merges=merges_into(merged.pk))


def merge_of(merged_pk: ObjectId) -> PatientMerge | None:
    """Return the merge by which a record went into another one, unless it was undone."""
    return PatientMerge.objects.filter(merged_id=merged_pk, undone_at=None).first()


def merges_into(survivor_pk: ObjectId) -> list[PatientMerge]:
    """Return what was merged into a record and can be undone, the newest first."""
    standing = PatientMerge.objects.filter(survivor_id=survivor_pk, undone_at=None)
    return list(standing.order_by("-merged_at"))


def _secure_survivor(merge: PatientMerge) -> Patient:
    try:
        return patient_secure(merge.survivor_id)
    except PatientGone as error:
        raise MergeRefused(
            "The record that this one was merged into was itself merged later. Undo that first."
        ) from error


def _still_there(merge: PatientMerge) -> list[ObjectId]:
    there = set(Case.objects.pks_of([merge.survivor_id]))
    return [pk for pk in merge.case_ids if pk in there]


def _record(
    action: Action, merge: PatientMerge, *, before: Patient, after: Patient, reason: str
) -> None:
    """Write one event for each record, so that the trail of either tells of the other.

    By ids alone. An event is exported with its patient and lasts as long as they do: after a merge
    by mistake the name of one would be handed out to the other, and outlive their erasure.
    """
    for patient in (before, after):
        patient_record(
            action,
            patient,
            before={"cases_of": before.pk},
            after={"cases_of": after.pk, "cases": _texts(merge.case_ids)},
            reason=reason,
        )


def _texts(pks: list[ObjectId]) -> list[str]:
    return [str(pk) for pk in pks]


def _move(case_ids: list[ObjectId], patient: Patient, by: str, reason: str) -> None:
    Case.objects.move(
        pks=case_ids,
        patient_pk=patient.pk,
        patient_copy=patient_copy(patient),
        by=by,
        reason=reason,
    )


def _announce(case_ids: list[ObjectId]) -> None:
    for case in Case.objects.filter(pk__in=case_ids).defer("images", "history", "notes"):
        case_announce(case)
