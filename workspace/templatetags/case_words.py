"""The words and marks that templates put on cases, grades and photographs."""

from django import template

from workspace.case_parts import EyeGrading, EyeImage
from workspace.models import Case
from workspace.schemas import (
    GRADE_NAMES,
    QUALITY_REASONS,
    CaseState,
    Decision,
    EyeState,
    Field,
    Laterality,
    Quality,
)

register = template.Library()

STATE_ICONS = {
    CaseState.DRAFT: "camera",
    CaseState.QUEUED: "hourglass-split",
    CaseState.GRADING: "hourglass-split",
    CaseState.FAILED: "x-octagon-fill",
    CaseState.CANCELLED: "dash-circle",
    CaseState.VOIDED: "file-earmark-x",
}
DECISION_ICONS = {
    Decision.ROUTINE: "check-circle-fill",
    Decision.EARLY: "calendar3",
    Decision.RETAKE: "arrow-repeat",
    Decision.REFER: "arrow-right",
    Decision.REFER_URGENT: "exclamation-triangle-fill",
}


@register.inclusion_tag("workspace/_case_badge.html")
def case_badge(case: Case) -> dict:
    """Show where a case stands: its decision once there is one, its state until then."""
    if case.state == CaseState.GRADED and case.outcome is not None:
        decision = Decision(case.outcome.decision)
        icon = DECISION_ICONS[decision]
        return {"tone": decision.value, "icon": icon, "label": decision.label}
    state = CaseState(case.state)
    return {"tone": state.value, "icon": STATE_ICONS.get(state, "check-lg"), "label": state.label}


@register.filter
def decision_icon(decision: str) -> str:
    return DECISION_ICONS[Decision(decision)]


@register.inclusion_tag("workspace/_grade_scale.html")
def grade_scale(grade: int | None) -> dict:
    """Show a grade's place on the scale from 0 to 4."""
    steps = [False] * 5 if grade is None else [step <= grade for step in range(5)]
    return {"grade": grade, "steps": steps}


@register.filter
def percent(probability: float | None) -> str:
    """Write a probability, never as a certainty: 0.9996 is "over 99 %"."""
    if probability is None:
        return "not known"
    if probability < 0.01:
        return "under 1 %"
    if probability > 0.99:
        return "over 99 %"
    return f"{probability * 100:.0f} %"


@register.filter
def grade_name(grade: int | None) -> str:
    return GRADE_NAMES[EyeState(grade)] if grade is not None else "Not gradable"


@register.filter
def quality_words(grading: EyeGrading) -> str:
    """Say how good a photograph is, and why when it is not."""
    label = Quality(grading.quality).label
    reasons = [QUALITY_REASONS.get(code, code) for code in grading.quality_reasons]
    return f"{label}: {', '.join(reasons)}" if reasons else label


@register.filter
def field_label(image: EyeImage) -> str:
    return Field(image.field).label


@register.filter
def megapixels(image: EyeImage) -> str:
    return f"{image.width_px} × {image.height_px} px, {image.format}"


@register.filter
def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


@register.filter
def eye_grades(case: Case) -> list[dict]:
    """Return what a list shows of each eye: its likeliest grade, as the case's own page does.

    `?` when not gradable, `–` when absent. Grades of one eye that don't rule disease out, as on a
    disc-centred photograph alone, count as not gradable here too.
    """
    outcome = case.outcome
    if outcome is None:
        return []
    return [
        _eye_grade(Laterality.OD, outcome.right_eye, outcome.right_grade),
        _eye_grade(Laterality.OS, outcome.left_eye, outcome.left_grade),
    ]


def _eye_grade(laterality: Laterality, state: int, grade: int | None) -> dict:
    signs = {EyeState.UNGRADABLE: "?", EyeState.ABSENT: "–"}
    # Without a likeliest grade the one that decided stands in: a list must never read "none".
    likeliest = state if grade is None else grade
    shown = None if state in signs else likeliest
    return {
        "laterality": laterality.value,
        "grade": shown,
        "short": signs.get(state, str(shown)),
    }
