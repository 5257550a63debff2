"""Change cases: submit them, hand them to workers, write results, and never lose one.

The case document is its own outbox. It is written first, with a majority of nodes and on disk;
only then a hint goes to Celery. Whatever happens to the hint, `cases_reconcile` finds the case.
"""

import datetime as dt
import logging

from bson import ObjectId
from django.conf import settings
from django.utils import timezone
from kombu.exceptions import OperationalError
from pymongo.errors import PyMongoError

from accounts.audit.actions import Action
from accounts.audit.actors import acting_as
from accounts.audit.services import audited
from accounts.scoping import every_hospital, hospital_scope
from drservice.celery import app
from drservice.common.errors import ServiceFault
from drservice.settings.celery import HINT_PRIORITY, INFERENCE_QUEUE
from workspace.case_parts import CaseOutcome, EyeGrading, EyeImage, PatientCopy
from workspace.events import case_announce
from workspace.models import Case, Patient
from workspace.schemas import CaseState, ImageResult, Laterality, case_outcome
from workspace.selectors import case_draft_empty, case_with_photographs_of, cases_due
from workspace.trail import case_record, grading_worker, outcome_facts

log = logging.getLogger(__name__)

GRADE_CASE = "inference.grade_case"
MAX_HINT_DOUBLINGS = 5
EYE_WORDS = {Laterality.OD: "right eye", Laterality.OS: "left eye"}
CHANGED_MEANWHILE = "Somebody else changed this case meanwhile. Look at it again, then repeat."
GAVE_UP = (
    "Grading stopped several times without a result. Try again, or ask the people who run the "
    "service to look at the grading workers."
)


class CaseConflict(ServiceFault):
    """The case is not in a state that allows this, or somebody else changed it first."""


class CaseIncomplete(ServiceFault):
    """The case lacks something that it needs before it can be graded."""


class PhotographsElsewhere(ServiceFault):
    """What a case shows went into the right case meanwhile, and one visit has it at a time."""

    def __init__(self, other: Case) -> None:
        super().__init__(
            f"Its photographs are in case {other.reference} by now. If they belong here, take them "
            "out there first, or cancel that case or mark it as entered in error."
        )
        self.other = other


class PatientGone(ServiceFault):
    """The record was merged into another one, or erased, since the caller looked at it."""

    def __init__(self) -> None:
        super().__init__("This record was merged or erased meanwhile. Look the patient up again.")


def patient_secure(pk: ObjectId) -> Patient:
    """Return a live record as it is now, kept from change by others until the transaction ends.

    Raises PatientGone.
    """
    patient = Patient.objects.secure(pk)
    if patient is None:
        raise PatientGone
    return patient


@audited
def case_create(*, patient: Patient, by: str, **details) -> Case:
    """Start a case for a patient. Post-state: DRAFT, without photographs. Raises PatientGone."""
    patient = patient_secure(patient.pk)
    case = Case(
        hospital_id=patient.hospital_id,
        patient=patient,
        patient_copy=patient_copy(patient),
        created_by=by,
        **details,
    )
    case.save()
    case_record(Action.CREATE, case, after={"state": case.state, **details})
    return case


def patient_copy(patient: Patient) -> PatientCopy:
    return PatientCopy(
        mrn=patient.mrn, name=patient.name, birth_date=patient.birth_date, sex=patient.sex
    )


def case_start(*, patient: Patient, by: str) -> Case:
    """Return a case to photograph for: one that was started and left empty, or else a new one."""
    return case_draft_empty(patient.pk) or case_create(patient=patient, by=by)


def case_amend(*, case: Case, version: int | None, values: dict) -> Case:
    """Change the details of an editable case.

    `version` is the one that the caller has seen, or None to take what is there now. Raises
    CaseConflict when somebody changed the case since then, or when it is not editable any more.
    """
    _require_editable(case)
    return _amend(case, case.version if version is None else version, values)


@audited
def _amend(case: Case, version: int, values: dict) -> Case:
    found = Case.objects.filter(pk=case.pk).first()
    amended = Case.objects.amend(pk=case.pk, version=version, values=values)
    if amended is None:
        raise CaseConflict(CHANGED_MEANWHILE)
    before, after = ({name: getattr(one, name) for name in values} for one in (found, amended))
    case_record(Action.CHANGE, amended, before=before, after=after)
    return amended


def case_gaps(case: Case) -> list[str]:
    """Say what a case lacks before it can be submitted; empty when it is ready."""
    gaps = [_eye_gap(case, laterality) for laterality in Laterality]
    if any(not image.laterality for image in case.current_images):
        gaps.insert(0, "Say for every photograph which eye it shows.")
    if case.images and not any(image.needs_grading for image in case.images):
        gaps.append("There is no new photograph to grade. Add the retaken ones first.")
    return [gap for gap in gaps if gap]


def _eye_gap(case: Case, laterality: Laterality) -> str:
    absent = laterality == case.absent_eye and bool(case.absent_eye_reason)
    if absent or case.images_of(laterality):
        return ""
    return (
        f"There is no photograph of the {EYE_WORDS[laterality]}. Add one, or say in the details "
        "that this eye is missing, and why."
    )


def case_submit(*, case: Case, by: str) -> Case:
    """Ask for the grading of a case; asking twice is the same as asking once.

    Pre-state: editable and complete, or waiting already. Post-state: QUEUED or GRADING.
    Raises CaseIncomplete with what is missing, CaseConflict when somebody changed the case.
    """
    if case.waiting:
        return case
    _require_editable(case)
    _require_complete(case)
    submitted = _submit(case, by)
    if submitted is None:
        return _already_submitted(case)
    hint_send(submitted)
    case_announce(submitted)
    return submitted


@audited
def _submit(case: Case, by: str) -> Case | None:
    now = timezone.now()
    submitted = Case.objects.submit(
        case=case,
        images=_with_rejected_replaced(case, now),
        by=by,
        now=now,
        due_at=now + hint_interval(0),
        max_attempts=settings.GRADING_MAX_ATTEMPTS,
    )
    if submitted is not None:
        _step_record(Action.SUBMIT, case, submitted)
    return submitted


def _step_record(action: Action, before: Case, after: Case, reason: str = "") -> None:
    """Keep what a step has made of a case, with the transaction that took it."""
    facts = (outcome_facts(before), outcome_facts(after))
    case_record(action, after, before=facts[0], after=facts[1], reason=reason)


def _with_rejected_replaced(case: Case, now: dt.datetime) -> list[EyeImage]:
    """Let retaken photographs take the place of the rejected ones of the same eye and field.

    Only now, when the clinic is done: until here it may still correct what a photograph shows.
    """
    retaken = {(one.laterality, one.field) for one in case.images if one.needs_grading}
    for image in case.current_images:
        if image.rejected and (image.laterality, image.field) in retaken:
            image.replaced_at = now
    return case.images


def _already_submitted(case: Case) -> Case:
    """Return the case when somebody else's click came first; anything else is a conflict."""
    found = Case.objects.filter(pk=case.pk).first()
    if found is not None and found.waiting:
        return found
    raise CaseConflict(CHANGED_MEANWHILE)


def case_cancel(*, case: Case, by: str, reason: str) -> Case:
    """Take a case out before anything is graded. Raises CaseConflict when it is too late."""
    cancelled = _cancel(case, by, reason)
    if cancelled is None:
        raise CaseConflict("This case can't be cancelled any more: its grading has begun.")
    case_announce(cancelled)
    return cancelled


@audited
def _cancel(case: Case, by: str, reason: str) -> Case | None:
    cancelled = Case.objects.cancel(pk=case.pk, by=by, words=reason)
    if cancelled is not None:
        _step_record(Action.CANCEL, case, cancelled, reason)
    return cancelled


def case_void(*, case: Case, by: str, reason: str) -> Case:
    """Mark a graded case as entered in error. Raises CaseConflict when it is not graded as seen.

    It leaves the lists, and counts as no visit; its photographs may go into the right case.
    """
    voided = _void(case, by, reason)
    if voided is None:
        raise CaseConflict(CHANGED_MEANWHILE)
    case_announce(voided)
    return voided


@audited
def _void(case: Case, by: str, reason: str) -> Case | None:
    voided = Case.objects.void(pk=case.pk, version=case.version, by=by, words=reason)
    if voided is not None:
        _step_record(Action.VOID, case, voided, reason)
    return voided


def case_reinstate(*, case: Case, by: str, reason: str) -> Case:
    """Take back that a case was entered in error.

    Pre-state: VOIDED, as the caller has seen it. Post-state: the state that it had, with all that
    was found; it is in the lists and counts as a visit again, also for how long the record is kept.
    Raises PhotographsElsewhere when another case has its photographs by now, CaseConflict when
    somebody changed the case.
    """
    reinstated = _reinstate(case, by, reason)
    if reinstated is None:
        raise CaseConflict(CHANGED_MEANWHILE)
    case_announce(reinstated)
    return reinstated


@audited
def _reinstate(case: Case, by: str, reason: str) -> Case | None:
    other = case_with_photographs_of(case)
    if other is not None:
        raise PhotographsElsewhere(other)
    reinstated = Case.objects.reinstate(
        pk=case.pk, version=case.version, to=case.state_before_void, by=by, words=reason
    )
    if reinstated is not None:
        _step_record(Action.REINSTATE, case, reinstated, reason)
    return reinstated


def case_end_retakes(*, case: Case, by: str, reason: str) -> Case:
    """Decide without the retake that can't be had: what could not be graded is referred.

    Pre-state: graded and wanting a retake, or failed at one; nothing ungraded in the case.
    Post-state: GRADED, wanting none.
    Raises CaseConflict when a photograph waits to be submitted, or the case wants no retake.
    """
    if any(image.needs_grading for image in case.images):
        raise CaseConflict("There are new photographs. Submit them for grading, or remove them.")
    settled = _settle(case, by, reason)
    if settled is None:
        raise CaseConflict(CHANGED_MEANWHILE)
    case_announce(settled)
    return settled


@audited
def _settle(case: Case, by: str, reason: str) -> Case | None:
    outcome = _outcome(case, timezone.now(), retakes_left=0)
    settled = Case.objects.settle(case=case, outcome=outcome, by=by, words=reason)
    if settled is not None:
        _step_record(Action.END_RETAKES, case, settled, reason)
    return settled


def hint_interval(hints: int) -> dt.timedelta:
    """Return how long to wait for a worker before the next hint: doubling, up to 32-fold."""
    return dt.timedelta(seconds=settings.GRADING_HINT_S * 2 ** min(hints, MAX_HINT_DOUBLINGS))


def hint_send(case: Case) -> bool:
    """Tell the workers that a case waits. A hint that can't be sent is sent by the next sweep."""
    options = {
        "queue": INFERENCE_QUEUE,
        "priority": HINT_PRIORITY,
        "expires": hint_interval(case.hints).total_seconds(),
    }
    try:
        app.send_task(GRADE_CASE, args=[str(case.pk)], **options)
    except OperationalError as error:
        log.warning("hint_not_sent case=%s error=%s", case.pk, type(error).__name__)
        return False
    return True


def case_claim(*, case_pk: str, worker: str) -> Case | None:
    """Take a waiting case for one worker, or return None when there is nothing to take.

    Post-state: GRADING; the worker owns the result while `attempt` stays what it is.
    """
    with every_hospital("a worker takes a case by its id"):
        case = Case.objects.claim(
            pk=ObjectId(case_pk), by=worker, now=timezone.now(), lease_s=settings.GRADING_LEASE_S
        )
    if case is not None:
        case_announce(case)
    return case


def case_renew(*, case: Case) -> bool:
    """Keep the lease of a claimed case alive; False when another worker owns it by now."""
    with hospital_scope(case.hospital_id):
        return Case.objects.renew(
            pk=case.pk,
            attempt=case.attempt,
            now=timezone.now(),
            lease_s=settings.GRADING_LEASE_S,
        )


def case_complete(*, case: Case, results: list[ImageResult]) -> Case | None:
    """Write what a worker found, once; None when the attempt is no longer the owner.

    Pre-state: GRADING at `case.attempt`. Post-state: GRADED with an outcome.
    """
    now = timezone.now()
    found = {result.image_key: result for result in results}
    for image in case.images:
        if image.key in found:
            image.grading = _grading(found[image.key], now)
    missing = [image.key for image in case.current_images if image.grading is None]
    if missing:
        raise CaseIncomplete(f"{len(missing)} photographs of this case have no result.")
    outcome = _outcome(case, now, retakes_left=case.retakes_left)
    with hospital_scope(case.hospital_id), acting_as(grading_worker(_worker_of(case))):
        completed = _complete(case, outcome)
    if completed is not None:
        case_announce(completed)
    return completed


@audited
def _complete(case: Case, outcome: CaseOutcome) -> Case | None:
    completed = Case.objects.complete(
        pk=case.pk, attempt=case.attempt, images=case.images, outcome=outcome
    )
    if completed is not None:
        _step_record(Action.GRADE, case, completed)
    return completed


def _worker_of(case: Case) -> str:
    """Return which worker has claimed a case last."""
    claims = [step.by for step in case.history if step.state == CaseState.GRADING]
    return claims[-1] if claims else ""


def case_release(*, case: Case, reason: str) -> Case | None:
    """Hand a claimed case back after a failed try; the last allowed try gives it up instead.

    `reason` is shown to the clinic. The next sweep after a pause sends the hint for a new try.
    None when the attempt is no longer the owner.
    """
    with hospital_scope(case.hospital_id):
        if case.attempt >= case.attempt_limit:
            with acting_as(grading_worker(_worker_of(case))):
                return _give_up(case, reason)
        return _release(case, reason)


def cases_reconcile() -> int:
    """Look after every case that is due: send its hint again, or give it up with a reason.

    Safe to run anywhere, any number of times at once. Returns how many cases it moved.
    """
    with every_hospital("reconcile due cases"):
        return sum(_reconcile_apart(case) for case in cases_due(timezone.now()))


def _reconcile_apart(case: Case) -> bool:
    """Look after one case so that, whatever is wrong with it, the others don't wait for it."""
    try:
        return _reconcile(case)
    except PyMongoError:
        # Nothing can be done for the others either while the database is away.
        raise
    except Exception:
        log.exception("case_not_reconciled case=%s", case.pk)
        return False


def _reconcile(case: Case) -> bool:
    if case.attempt >= case.attempt_limit:
        return _give_up(case, GAVE_UP, seen_due_at=case.due_at) is not None
    if case.state == CaseState.GRADING:
        released = _release(case, "The grading worker was lost", seen_due_at=case.due_at)
        return released is not None and hint_send(released)
    postponed = Case.objects.postpone_hint(
        pk=case.pk, seen_due_at=case.due_at, due_at=timezone.now() + hint_interval(case.hints + 1)
    )
    return postponed is not None and hint_send(postponed)


def _release(case: Case, reason: str, *, seen_due_at: dt.datetime | None = None) -> Case | None:
    released = Case.objects.release(
        pk=case.pk,
        attempt=case.attempt,
        reason=reason,
        due_at=timezone.now() + hint_interval(0),
        seen_due_at=seen_due_at,
    )
    if released is not None:
        case_announce(released)
    return released


def _give_up(case: Case, reason: str, *, seen_due_at: dt.datetime | None = None) -> Case | None:
    failed = _fail(case, reason, seen_due_at)
    if failed is not None:
        log.error("case_given_up case=%s attempts=%s", case.pk, case.attempt)
        case_announce(failed)
    return failed


@audited
def _fail(case: Case, reason: str, seen_due_at: dt.datetime | None) -> Case | None:
    failed = Case.objects.give_up(
        pk=case.pk,
        attempt=case.attempt,
        state=case.state,
        reason=reason,
        by="grading service",
        seen_due_at=seen_due_at,
    )
    if failed is not None:
        _step_record(Action.GIVE_UP, case, failed, reason)
    return failed


def _require_editable(case: Case) -> None:
    if not case.editable:
        raise CaseConflict(f"This case is {case.get_state_display().lower()}; it can't be changed.")


def _require_complete(case: Case) -> None:
    gaps = case_gaps(case)
    if gaps:
        raise CaseIncomplete(" ".join(gaps))


def _grading(result: ImageResult, now: dt.datetime) -> EyeGrading:
    return EyeGrading(
        model_version=result.model_version,
        graded_at=now,
        quality=result.quality,
        quality_reasons=list(result.quality_reasons),
        gradable_probability=result.gradable_probability,
        grade=result.grade,
        probabilities=list(result.probabilities),
        referable=result.referable,
        vision_threatening=result.vision_threatening,
        referable_probability=result.referable_probability,
        vision_threatening_probability=result.vision_threatening_probability,
        heatmap=result.heatmap,
    )


def _outcome(case: Case, now: dt.datetime, *, retakes_left: int) -> CaseOutcome:
    right, left = case.eye_state(Laterality.OD), case.eye_state(Laterality.OS)
    grades = {
        "right_grade": case.likeliest_grade(Laterality.OD),
        "left_grade": case.likeliest_grade(Laterality.OS),
    }
    outcome = case_outcome(right, left, retakes_left=retakes_left, **grades)
    return CaseOutcome(
        decision=outcome.decision,
        right_eye=right,
        left_eye=left,
        reasons=list(outcome.reasons),
        decided_at=now,
        **grades,
    )
