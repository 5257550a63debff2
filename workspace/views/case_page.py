"""What the page of a case shows, and the same in JSON."""

import datetime as dt
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from workspace.case_parts import EyeImage
from workspace.forms import (
    CaseCancelForm,
    CaseDetailsForm,
    CaseReinstateForm,
    CaseVoidForm,
    RetakesEndForm,
)
from workspace.models import Case
from workspace.schemas import (
    GRADE_NAMES,
    NEXT_STEPS,
    QUALITY_REASONS,
    CaseState,
    Decision,
    EyeState,
    Field,
    Laterality,
)
from workspace.selectors import case_with_photographs_of
from workspace.services import case_gaps

# After this long without a worker the page says so, in words that reassure.
PATIENCE = dt.timedelta(seconds=60)
# Grading takes seconds. After this long a worker is slow, or lost with its lease still running.
SLOW = dt.timedelta(seconds=15)


@dataclass(frozen=True)
class Slot:
    """A place for photographs of one eye and field on the page of a new case."""

    field: str
    label: str
    images: list[EyeImage]

    @property
    def wanted(self) -> bool:
        """Whether the place still wants a photograph: it is empty, or holds rejected ones only."""
        return all(image.rejected for image in self.images)


@dataclass(frozen=True)
class EyeColumn:
    """One eye while photographs are being added."""

    laterality: str
    label: str
    slots: list[Slot]
    absent_reason: str


@dataclass(frozen=True)
class EyeResult:
    """One eye after grading. `grade` is the likeliest one, None when it could not be graded.

    `raised` is set when the operating point calls for more than the likeliest grade would.
    """

    laterality: str
    label: str
    state: EyeState
    grade: int | None
    images: list[EyeImage]
    absent_reason: str

    @property
    def headline(self) -> str:
        if self.state == EyeState.ABSENT:
            return "Not photographed"
        if self.state == EyeState.UNGRADABLE:
            return "Could not be graded"
        if self.raised:
            return f"{self._flag} retinopathy can't be ruled out"
        return GRADE_NAMES[self.state]

    @property
    def raised(self) -> bool:
        return self.grade is not None and self.state <= 4 and self.state > self.grade

    @property
    def _flag(self) -> str:
        return "Sight-threatening" if self.state >= EyeState.SEVERE else "Referable"

    @property
    def grade_name(self) -> str:
        return GRADE_NAMES[EyeState(self.grade)] if self.grade is not None else ""

    @property
    def severity(self) -> int | None:
        """The grade that decided, 0 to 4, or None."""
        return int(self.state) if self.state <= EyeState.PROLIFERATIVE else None

    @property
    def flags(self) -> list[dict]:
        """Say of both questions whether the answer is yes, no, or not ruled out."""
        referable = any(image.grading.referable for image in self.images)
        threatening = any(image.grading.vision_threatening for image in self.images)
        return [
            self._flag_words("Referable", EyeState.MODERATE, referable),
            self._flag_words("Sight-threatening", EyeState.SEVERE, threatening),
        ]

    def _flag_words(self, name: str, least: EyeState, flagged: bool) -> dict:
        if self.grade is not None and self.grade >= least:
            return {"up": True, "words": name}
        if flagged or (self.severity is not None and self.severity >= least):
            return {"up": True, "words": f"{name} not ruled out"}
        return {"up": False, "words": f"Not {name.lower()}"}


def case_context(case: Case) -> dict:
    """Return everything that the templates of one case need."""
    return {
        "case": case,
        "outcome": _outcome(case),
        "eye_columns": [_eye_column(case, laterality) for laterality in Laterality],
        "eye_results": _eye_results(case),
        "unlabelled": [image for image in case.current_images if not image.laterality],
        "rejected": [image for image in case.current_images if image.rejected],
        "replaced": [image for image in case.images if image.replaced_at],
        "gaps": case_gaps(case) if case.editable else [],
        "progress": case_progress(case, timezone.now()) if case.waiting else "",
        "details_form": CaseDetailsForm(instance=case),
        "cancel_form": CaseCancelForm(),
        "void_form": CaseVoidForm(),
        "reinstate_form": CaseReinstateForm(),
        "photographs_in": _photographs_in(case),
        "retakes_form": RetakesEndForm(),
        "upload_max_mb": settings.UPLOAD_MAX_BYTES // 1_000_000,
    }


def _photographs_in(case: Case) -> Case | None:
    """Return the case that keeps one that was entered in error from being taken back, or None."""
    return case_with_photographs_of(case) if case.state == CaseState.VOIDED else None


def _eye_column(case: Case, laterality: Laterality) -> EyeColumn:
    images = case.images_of(laterality)
    slots = [
        Slot(field, field.label, [image for image in images if image.field == field])
        for field in Field
    ]
    return EyeColumn(laterality, laterality.label, slots, _absent_reason(case, laterality))


def _eye_results(case: Case) -> list[EyeResult]:
    if case.outcome is None or case.state == CaseState.VOIDED:
        return []
    states = {Laterality.OD: case.outcome.right_eye, Laterality.OS: case.outcome.left_eye}
    return [
        EyeResult(
            laterality=laterality,
            label=laterality.label,
            state=EyeState(states[laterality]),
            grade=case.likeliest_grade(laterality),
            images=[image for image in case.images_of(laterality) if image.grading],
            absent_reason=_absent_reason(case, laterality),
        )
        for laterality in Laterality
    ]


def _absent_reason(case: Case, laterality: Laterality) -> str:
    return case.absent_eye_reason if case.absent_eye == laterality else ""


def case_progress(case: Case, now: dt.datetime) -> str:
    """Say what a waiting case waits for, in words that a nurse understands."""
    last_step = case.history[-1] if case.history else None
    if case.state == CaseState.GRADING:
        if last_step and now - last_step.at > SLOW:
            return (
                "This takes longer than usual. Your case is safe: if its grading worker was lost, "
                "another one takes it within a minute or two. There is nothing you need to do."
            )
        return "The photographs are being graded now. This takes a few seconds."
    if last_step and last_step.reason and case.attempt:
        return f"{last_step.reason}. The case is safe and will be tried again by itself."
    if case.submitted_at and now - case.submitted_at > PATIENCE:
        return (
            "No grading worker has answered yet. Your case is safe and will be graded as soon as "
            "one does. You may close this page, and tell the people who run the service."
        )
    return "The case is accepted and waits for its turn. This usually takes a few seconds."


def case_status(case: Case) -> dict:
    """Return the state of a case for programs."""
    return {
        "case": str(case.pk),
        "reference": case.reference,
        "state": case.state,
        "state_label": case.get_state_display(),
        "reason": case_reason(case),
        "version": case.version,
        "outcome": _outcome(case),
        "images": [_image(image) for image in case.images],
    }


def case_reason(case: Case) -> str:
    """Say why a case is where it is; empty when there is nothing to explain."""
    if case.failure:
        return case.failure
    if case.waiting:
        return case_progress(case, timezone.now())
    return " ".join(case_gaps(case)) if case.state == CaseState.DRAFT else ""


def _outcome(case: Case) -> dict | None:
    if case.outcome is None or case.state == CaseState.VOIDED:
        return None
    decision = Decision(case.outcome.decision)
    return {
        "decision": decision.value,
        "label": decision.label,
        "next_step": NEXT_STEPS[decision],
        "reasons": list(case.outcome.reasons),
    }


def _image(image: EyeImage) -> dict:
    found = image.grading
    facts = {
        "key": image.key,
        "laterality": image.laterality,
        "field": image.field,
        "sha256": image.sha256,
        "replaced": image.replaced_at is not None,
        "graded": found is not None,
    }
    if found is None:
        return facts
    return {
        **facts,
        "model_version": found.model_version,
        "quality": found.quality,
        "quality_reasons": [QUALITY_REASONS.get(code, code) for code in found.quality_reasons],
        "grade": found.grade,
        "grade_name": GRADE_NAMES[EyeState(found.grade)] if found.grade is not None else "",
        "referable": found.referable,
        "vision_threatening": found.vision_threatening,
        "referable_probability": found.referable_probability,
        "vision_threatening_probability": found.vision_threatening_probability,
        "probabilities": list(found.probabilities),
    }
