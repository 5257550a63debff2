"""How long records are kept, and what holds them beyond that."""

import datetime as dt
from dataclasses import dataclass

from bson import ObjectId
from django.core.exceptions import ValidationError
from django.db.models import Max
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.services import audit_record, audited
from drservice.common.errors import ServiceFault
from workspace.models import Case, Patient, RetentionPolicy
from workspace.patients.duplicates import survivor_of
from workspace.schemas import NEVER_A_VISIT
from workspace.services import patient_secure
from workspace.trail import patient_record

MOST_YEARS = 100


class RecordKept(ServiceFault):
    """The record must not be erased now; the message says what keeps it."""


@dataclass(frozen=True)
class DueRecord:
    """A live record whose time is over. `last_visit` is None for a patient who never came."""

    patient: Patient
    last_visit: dt.datetime | None


def retention_policy(hospital_id: ObjectId) -> RetentionPolicy:
    """Return the hospital's policy; one that keeps everything for ever when none was made."""
    found = RetentionPolicy.objects.filter(hospital_id=hospital_id).first()
    return found or RetentionPolicy(hospital_id=hospital_id)


@audited
def retention_policy_change(
    *, hospital_id: ObjectId, keep_years: int | None, erase_when_due: bool
) -> RetentionPolicy:
    """Say how long the hospital keeps records. Raises ValidationError."""
    if erase_when_due and keep_years is None:
        raise ValidationError({"keep_years": "Say after how many years records may be erased."})
    policy = RetentionPolicy.objects.secure(hospital_id)
    before = _rule(policy)
    policy.keep_years, policy.erase_when_due = keep_years, erase_when_due
    _policy_record(Action.CHANGE, policy, before=before, after=_rule(policy))
    return _policy_save(policy, "keep_years", "erase_when_due")


@audited
def hospital_hold(*, hospital_id: ObjectId, by: str, reason: str) -> RetentionPolicy:
    """Let nothing of the hospital be erased until the hold is lifted."""
    policy = RetentionPolicy.objects.secure(hospital_id)
    policy.hold_reason, policy.held_by, policy.held_at = reason, by, timezone.now()
    _policy_record(Action.HOLD, policy, reason=reason)
    return _policy_save(policy, "hold_reason", "held_by", "held_at")


@audited
def hospital_release(*, hospital_id: ObjectId) -> RetentionPolicy:
    """Lift the hold on the hospital; holds on single patients stay."""
    policy = RetentionPolicy.objects.secure(hospital_id)
    _policy_record(Action.RELEASE, policy, before={"held_for": policy.hold_reason})
    policy.hold_reason, policy.held_by, policy.held_at = "", "", None
    return _policy_save(policy, "hold_reason", "held_by", "held_at")


@audited
def patient_hold(*, patient: Patient, by: str, reason: str) -> Patient:
    """Put a legal hold on a record: it is not erased while that stands. Raises PatientGone."""
    patient = patient_secure(patient.pk)
    patient.hold_reason, patient.held_by, patient.held_at = reason, by, timezone.now()
    patient_record(Action.HOLD, patient, reason=reason)
    patient.save(update_fields=["hold_reason", "held_by", "held_at"])
    return patient


@audited
def patient_release(*, patient: Patient) -> Patient:
    """Lift the legal hold on a record. Raises PatientGone."""
    patient = patient_secure(patient.pk)
    patient_record(Action.RELEASE, patient, before={"held_for": patient.hold_reason})
    patient.hold_reason, patient.held_by, patient.held_at = "", "", None
    patient.save(update_fields=["hold_reason", "held_by", "held_at"])
    return patient


def require_erasable(patient: Patient) -> None:
    """Raise RecordKept with the reason while a hold stands or the retention period runs."""
    reason = why_kept(patient)
    if reason:
        raise RecordKept(reason)


def why_kept(patient: Patient) -> str:
    """Say in words what keeps a record from being erased; empty when nothing does."""
    policy = retention_policy(patient.hospital_id)
    if policy.held:
        return "All records of the hospital are on legal hold."
    if any(one.held for one in (patient, *Patient.objects.tombstones_of(patient.pk))):
        return "This record is on legal hold."
    kept_until = _kept_until(policy, last_visit(patient))
    if kept_until is not None and kept_until > timezone.now():
        return f"The retention period of this record runs until {kept_until:%-d %b %Y}."
    return ""


def last_visit(patient: Patient) -> dt.datetime | None:
    """Return when the patient last came; visits that were cancelled don't count."""
    return _last_visits([patient.pk]).get(patient.pk)


def records_due(policy: RetentionPolicy, now: dt.datetime) -> list[DueRecord]:
    """Return the live records of a hospital whose period is over and that nothing holds."""
    if policy.keep_years is None or policy.held:
        return []
    since = _years_from(now, -policy.keep_years)
    recent = Case.objects.filter(created_at__gte=since).exclude(state__in=NEVER_A_VISIT)
    came_since = set(recent.values_list("patient_id", flat=True))
    old = Patient.objects.filter(created_at__lt=since, merged_into=None).order_by("created_at")
    held = _held_anywhere()
    due = [one for one in old if one.pk not in came_since and one.pk not in held]
    visits = _last_visits([patient.pk for patient in due])
    return [DueRecord(patient, visits.get(patient.pk)) for patient in due]


def _last_visits(patient_pks: list[ObjectId]) -> dict[ObjectId, dt.datetime]:
    visits = Case.objects.filter(patient_id__in=patient_pks).exclude(state__in=NEVER_A_VISIT)
    newest = visits.values("patient_id").annotate(newest=Max("created_at"))
    return {one["patient_id"]: one["newest"] for one in newest}


def _held_anywhere() -> set[ObjectId]:
    """Return live records on hold, also those that are so by a record merged into them."""
    held = Patient.objects.exclude(held_at=None)
    return {survivor_of(patient).pk for patient in held}


def _kept_until(policy: RetentionPolicy, visited: dt.datetime | None) -> dt.datetime | None:
    if policy.keep_years is None or visited is None:
        return None
    return _years_from(visited, policy.keep_years)


def _years_from(moment: dt.datetime, years: int) -> dt.datetime:
    # The 29th of February of most years is the 1st of March: kept a day longer, never shorter.
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, month=3, day=1)


def _policy_save(policy: RetentionPolicy, *fields: str) -> RetentionPolicy:
    policy.full_clean(validate_constraints=False)
    policy.save(update_fields=fields)
    return policy


def _rule(policy: RetentionPolicy) -> dict:
    return {"keep_years": policy.keep_years, "erase_when_due": policy.erase_when_due}


def _policy_record(action: Action, policy: RetentionPolicy, **told) -> None:
    audit_record(
        action=action, subject_kind="retention policy", subject_id=policy.hospital_id, **told
    )
