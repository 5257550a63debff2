"""What the audit trail is told about patients, cases and photographs.

Every event names its patient, so that what it says goes when the patient is erased.
"""

from typing import TYPE_CHECKING

from bson import ObjectId

from accounts.audit.actions import Action
from accounts.audit.actors import Actor, ActorKind
from accounts.audit.services import audit_record, audit_view

if TYPE_CHECKING:
    from workspace.case_parts import EyeImage
    from workspace.models import Case, Patient

PATIENT_FACTS = (
    "mrn",
    "name",
    "birth_date",
    "sex",
    "diabetes_type",
    "diabetes_since_year",
    "phone",
    "email",
    "consent_messages",
    "consent_training",
)
IMAGE_FACTS = ("sha256", "laterality", "field", "replaced_at")


def grading_worker(name: str) -> Actor:
    return Actor(ActorKind.WORKER, name=name)


def patient_facts(patient: "Patient") -> dict:
    """Return what the trail compares of a patient."""
    return {name: getattr(patient, name) for name in PATIENT_FACTS}


def patient_record(action: Action, patient: "Patient", **told) -> None:
    """Keep an event about a patient, as a part of the open transaction."""
    audit_record(
        action=action,
        subject_kind="patient",
        subject_id=patient.pk,
        hospital_id=patient.hospital_id,
        patient_id=patient.pk,
        **told,
    )


def case_record(action: Action, case: "Case", **told) -> None:
    """Keep an event about a case, as a part of the open transaction."""
    audit_record(
        action=action,
        subject_kind="case",
        subject_id=case.pk,
        hospital_id=case.hospital_id,
        patient_id=case.patient_id,
        **told,
    )


def image_record(action: Action, case: "Case", key: str, **told) -> None:
    """Keep an event about a photograph, as a part of the open transaction."""
    audit_record(
        action=action,
        subject_kind="photograph",
        subject_id=f"{case.pk}/{key}",
        hospital_id=case.hospital_id,
        patient_id=case.patient_id,
        **told,
    )


def image_facts(image: "EyeImage | None") -> dict:
    return {} if image is None else {name: getattr(image, name) for name in IMAGE_FACTS}


def outcome_facts(case: "Case") -> dict:
    """Return what a case's result comes to: the decision and each eye's grade."""
    facts = {"state": case.state, "failure": case.failure}
    if case.outcome is None:
        return facts
    return {
        **facts,
        "decision": case.outcome.decision,
        "right_grade": case.outcome.right_grade,
        "left_grade": case.outcome.left_grade,
        "models": sorted({one.grading.model_version for one in case.images if one.grading}),
    }


def patient_viewed(patient: "Patient", *, again: bool = False) -> None:
    audit_view(subject_kind="patient", subject_id=patient.pk, patient_id=patient.pk, again=again)


def case_viewed(case: "Case", *, again: bool) -> None:
    """Keep that somebody sees a case.

    `again`: their open page says that it only looks anew, or this is a part of such a page.
    """
    audit_view(subject_kind="case", subject_id=case.pk, patient_id=case.patient_id, again=again)


def original_viewed(case: "Case", key: str) -> None:
    audit_view(subject_kind="photograph", subject_id=f"{case.pk}/{key}", patient_id=case.patient_id)


def patients_searched(found: list["Patient"]) -> None:
    """Keep whom a search showed, not its words: they may name somebody who is erased later."""
    shown: list[ObjectId] = [patient.pk for patient in found]
    audit_record(action=Action.SEARCH, subject_kind="patients", after={"found": shown})
