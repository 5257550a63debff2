"""The words of a case, and the rule that turns two eyes into one decision. Pure: no database."""

from dataclasses import dataclass
from enum import IntEnum

from django.db import models


class Laterality(models.TextChoices):
    """Which eye, in the field's own terms: oculus dexter and oculus sinister."""

    OD = "OD", "Right eye (OD)"
    OS = "OS", "Left eye (OS)"


class Field(models.TextChoices):
    MACULA = "macula", "Macula-centred"
    DISC = "disc", "Disc-centred"


class Sex(models.TextChoices):
    FEMALE = "F", "Female"
    MALE = "M", "Male"
    OTHER = "O", "Other"
    UNKNOWN = "U", "Not stated"


class DiabetesType(models.TextChoices):
    TYPE_1 = "1", "Type 1"
    TYPE_2 = "2", "Type 2"
    GESTATIONAL = "G", "Gestational"
    OTHER = "O", "Other"
    UNKNOWN = "U", "Not known"


class CaseState(models.TextChoices):
    DRAFT = "draft", "Photographs being added"
    QUEUED = "queued", "Waiting to be graded"
    GRADING = "grading", "Being graded"
    GRADED = "graded", "Graded"
    FAILED = "failed", "Grading failed"
    CANCELLED = "cancelled", "Cancelled"
    VOIDED = "voided", "Entered in error"


# What was taken back, and counts neither as a visit nor as a photograph of the patient.
NEVER_A_VISIT = (CaseState.CANCELLED, CaseState.VOIDED)


class ErasureReason(models.TextChoices):
    """Why a record is erased. Chosen from a list: free text could name whom it is about."""

    WISH = "wish", "The patient wishes it"
    KEPT_LONG_ENOUGH = "due", "Kept long enough"
    MISTAKE = "mistake", "Registered by mistake"
    OTHER = "other", "Another reason"


class ErasureState(models.TextChoices):
    ASKED = "asked", "Waits for a second person"
    DECLINED = "declined", "Declined"
    WITHDRAWN = "withdrawn", "Withdrawn"
    ERASED = "erased", "Erased"


class Quality(models.TextChoices):
    GOOD = "good", "Good"
    USABLE = "usable", "Usable"
    REJECT = "reject", "Not gradable"


QUALITY_REASONS = {
    "dark": "too dark",
    "bright": "too bright",
    "blurred": "blurred",
    "hazy": "hazy, as by a cataract or a fogged lens",
    "field_cut": "part of the field is cut off",
    "not_fundus": "not a photograph of a retina",
    "grey": "without colour: the model learned from colour photographs",
    "unreadable": "the file could not be read",
}


class EyeState(IntEnum):
    """What is known of one eye. The five ICDR grades, and the two ways of not knowing."""

    NO_DR = 0
    MILD = 1
    MODERATE = 2
    SEVERE = 3
    PROLIFERATIVE = 4
    UNGRADABLE = 5
    ABSENT = 6


# The grades' own names on the international scale (ICDR).
GRADE_NAMES = {
    EyeState.NO_DR: "No apparent retinopathy",
    EyeState.MILD: "Mild non-proliferative retinopathy",
    EyeState.MODERATE: "Moderate non-proliferative retinopathy",
    EyeState.SEVERE: "Severe non-proliferative retinopathy",
    EyeState.PROLIFERATIVE: "Proliferative retinopathy",
}


class Decision(models.TextChoices):
    """What happens to the patient next, from the mildest to the most urgent."""

    ROUTINE = "routine", "Routine recall"
    EARLY = "early", "Earlier recall"
    RETAKE = "retake", "Retake photographs"
    REFER = "refer", "Refer"
    REFER_URGENT = "refer_urgent", "Refer urgently"


DECISION_ORDER = tuple(Decision)

NEXT_STEPS = {
    Decision.ROUTINE: "No sign of diabetic retinopathy. Screen again in 12 months.",
    Decision.EARLY: "Mild retinopathy. Screen again in 6 to 12 months.",
    Decision.RETAKE: "Take the marked photographs again while the patient is here.",
    Decision.REFER: "Refer to an eye doctor.",
    Decision.REFER_URGENT: "Refer urgently to an eye doctor: sight may be at risk.",
}


@dataclass(frozen=True)
class Outcome:
    decision: Decision
    reasons: tuple[str, ...]

    @property
    def next_step(self) -> str:
        return NEXT_STEPS[self.decision]


@dataclass(frozen=True)
class ImageResult:
    """What a worker found in one photograph; `grade` is None when it can't be graded.

    Probabilities are 0 to 1; `probabilities` has one entry a grade (ICDR 0 to 4) and is empty
    for a rejected photograph. `heatmap` is the stored name of the overlay, or empty.
    """

    image_key: str
    model_version: str
    quality: str
    quality_reasons: tuple[str, ...] = ()
    gradable_probability: float = 0.0
    grade: int | None = None
    probabilities: tuple[float, ...] = ()
    referable: bool = False
    vision_threatening: bool = False
    referable_probability: float | None = None
    vision_threatening_probability: float | None = None
    heatmap: str = ""


@dataclass(frozen=True)
class PhotographFinding:
    """One photograph as the outcome sees it; `grade` is None when it could not be graded.

    The grade is the likeliest one. The two flags are set at the operating point, which is tuned
    to miss little: they may be up while the likeliest grade is milder.
    """

    field: str
    grade: int | None = None
    referable: bool = False
    vision_threatening: bool = False

    @property
    def severity(self) -> int | None:
        """The grade that decides: either flag refers; together with a likely grade it is urgent.

        The sight-threatening flag alone is no alarm: tuned to miss little in a rare condition, it
        is up in many eyes that need a referral at most.
        """
        if self.grade is None:
            return None
        if self.vision_threatening and self.grade >= EyeState.MODERATE:
            return max(self.grade, EyeState.SEVERE)
        if self.referable or self.vision_threatening:
            return max(self.grade, EyeState.MODERATE)
        return self.grade


def eye_state(photographs: list[PhotographFinding]) -> EyeState:
    """Return what an eye's photographs say together: the worst severity that any of them shows.

    An eye is only called free of referable disease on a gradable macula-centred photograph;
    a disc-centred one alone can show disease but can't rule it out.
    """
    if not photographs:
        return EyeState.ABSENT
    graded = [photograph for photograph in photographs if photograph.grade is not None]
    worst = max((photograph.severity for photograph in graded), default=None)
    macula_seen = any(photograph.field == Field.MACULA for photograph in graded)
    if worst is None or (not macula_seen and worst < EyeState.MODERATE):
        return EyeState.UNGRADABLE
    return EyeState(worst)


_GRADE_DECISION = {
    EyeState.NO_DR: Decision.ROUTINE,
    EyeState.MILD: Decision.EARLY,
    EyeState.MODERATE: Decision.REFER,
    EyeState.SEVERE: Decision.REFER_URGENT,
    EyeState.PROLIFERATIVE: Decision.REFER_URGENT,
}

_GRADE_REASONS = {
    EyeState.NO_DR: "no apparent retinopathy",
    EyeState.MILD: "mild retinopathy",
    EyeState.MODERATE: "moderate retinopathy",
    EyeState.SEVERE: "severe retinopathy",
    EyeState.PROLIFERATIVE: "proliferative retinopathy",
    EyeState.UNGRADABLE: "could not be graded",
    EyeState.ABSENT: "was not photographed",
}


def case_outcome(
    right: EyeState,
    left: EyeState,
    *,
    retakes_left: int,
    right_grade: int | None = None,
    left_grade: int | None = None,
) -> Outcome:
    """Turn two eyes into one decision: the worse eye decides, and not knowing is never "no DR".

    An ungradable eye asks for a retake while tries are left, then for a referral. An absent eye
    (a one-eyed patient, with a recorded reason) leaves the decision to the other one; with both
    absent nothing is known, which is treated like an ungradable eye. The likeliest grades, where
    they are given, change only the words of the reasons.
    """
    decision = max(
        _eye_decision(right, left, retakes_left),
        _eye_decision(left, right, retakes_left),
        key=DECISION_ORDER.index,
    )
    reasons = (
        eye_reason("Right eye", right, right_grade),
        eye_reason("Left eye", left, left_grade),
    )
    return Outcome(decision, reasons)


def _eye_decision(eye: EyeState, other: EyeState, retakes_left: int) -> Decision:
    unknown = eye == EyeState.UNGRADABLE or eye == other == EyeState.ABSENT
    if unknown:
        return Decision.RETAKE if retakes_left > 0 else Decision.REFER
    return _GRADE_DECISION.get(eye, Decision.ROUTINE)


def eye_reason(name: str, state: EyeState, likeliest_grade: int | None = None) -> str:
    """Say in words what an eye contributes; `likeliest_grade` tells when a flag decided."""
    if likeliest_grade is None or state > EyeState.PROLIFERATIVE or likeliest_grade >= state:
        return f"{name}: {_GRADE_REASONS[state]}"
    flag = "sight-threatening" if state >= EyeState.SEVERE else "referable"
    likeliest = _GRADE_REASONS[EyeState(likeliest_grade)]
    return f"{name}: {flag} retinopathy can't be ruled out, though {likeliest} is likeliest"
