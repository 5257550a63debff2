"""What a case's page says of an eye, in words that neither alarm nor soothe without cause."""

import pytest

from workspace.case_parts import EyeGrading
from workspace.schemas import EyeState, Laterality
from workspace.tests.factories import make_image
from workspace.views.case_page import EyeResult


def eye(state: EyeState, grade: int | None, **flags) -> EyeResult:
    image = make_image(Laterality.OD, grading=EyeGrading(grade=grade, **flags))
    return EyeResult(
        laterality=Laterality.OD,
        label=Laterality.OD.label,
        state=state,
        grade=grade,
        images=[image],
        absent_reason="",
    )


@pytest.mark.parametrize(
    ("result", "headline", "flags"),
    [
        (
            eye(EyeState.NO_DR, 0),
            "No apparent retinopathy",
            ["Not referable", "Not sight-threatening"],
        ),
        (
            eye(EyeState.MODERATE, 2, referable=True),
            "Moderate non-proliferative retinopathy",
            ["Referable", "Not sight-threatening"],
        ),
        (
            eye(EyeState.MODERATE, 1, referable=True),
            "Referable retinopathy can't be ruled out",
            ["Referable not ruled out", "Not sight-threatening"],
        ),
        (
            eye(EyeState.MODERATE, 0, vision_threatening=True),
            "Referable retinopathy can't be ruled out",
            ["Referable not ruled out", "Sight-threatening not ruled out"],
        ),
        (
            eye(EyeState.SEVERE, 2, referable=True, vision_threatening=True),
            "Sight-threatening retinopathy can't be ruled out",
            ["Referable", "Sight-threatening not ruled out"],
        ),
        # The grade itself counts, even where the flags fail to say so.
        (
            eye(EyeState.PROLIFERATIVE, 4),
            "Proliferative retinopathy",
            ["Referable", "Sight-threatening"],
        ),
    ],
)
def test_eye_says_what_is_likely_and_what_is_not_ruled_out(result, headline, flags):
    assert result.headline == headline
    assert [flag["words"] for flag in result.flags] == flags
    assert [flag["up"] for flag in result.flags] == [not one.startswith("Not") for one in flags]


def test_eye_that_nothing_is_known_of_is_never_called_healthy():
    assert eye(EyeState.UNGRADABLE, None).headline == "Could not be graded"
    assert eye(EyeState.ABSENT, None).headline == "Not photographed"
    assert eye(EyeState.UNGRADABLE, None).severity is None
