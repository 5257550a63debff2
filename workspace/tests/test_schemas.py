"""The outcome of a case: every pair of eyes, by a table that a clinician can read."""

from itertools import product

import pytest

from workspace.schemas import (
    DECISION_ORDER,
    GRADE_NAMES,
    NEXT_STEPS,
    Decision,
    EyeState,
    Field,
    PhotographFinding,
    case_outcome,
    eye_reason,
    eye_state,
)

DECISIONS = {
    "-": Decision.ROUTINE,
    "e": Decision.EARLY,
    "t": Decision.RETAKE,
    "r": Decision.REFER,
    "U": Decision.REFER_URGENT,
}
# Right eye by row, left eye by column, both in the order of EyeState:
# no, mild, moderate, severe, proliferative, ungradable, absent.
WHILE_TRIES_ARE_LEFT = """
    - e r U U t -
    e e r U U t e
    r r r U U r r
    U U U U U U U
    U U U U U U U
    t t r U U t t
    - e r U U t t
"""
AFTER_THE_LAST_TRY = WHILE_TRIES_ARE_LEFT.replace("t", "r")
PAIRS = list(product(EyeState, EyeState))
RETAKES = (0, 1, 2, 3)


def decided(right: EyeState, left: EyeState, retakes_left: int) -> Decision:
    return case_outcome(right, left, retakes_left=retakes_left).decision


@pytest.mark.parametrize("retakes_left", RETAKES)
def test_outcome_is_that_of_the_table(retakes_left):
    table = WHILE_TRIES_ARE_LEFT if retakes_left else AFTER_THE_LAST_TRY
    rows = [row.split() for row in table.strip().splitlines()]

    for right, left in PAIRS:
        assert decided(right, left, retakes_left) == DECISIONS[rows[right][left]], (right, left)


@pytest.mark.parametrize("retakes_left", RETAKES)
def test_outcome_is_the_same_with_the_eyes_swapped(retakes_left):
    for right, left in PAIRS:
        assert decided(right, left, retakes_left) == decided(left, right, retakes_left)


# What is worse than what; not knowing is worse than knowing of nothing or of little.
WORSE = [
    *[(EyeState(grade), EyeState(grade + 1)) for grade in range(4)],
    (EyeState.NO_DR, EyeState.UNGRADABLE),
    (EyeState.MILD, EyeState.UNGRADABLE),
]


@pytest.mark.parametrize(("better", "worse"), WORSE)
def test_outcome_of_a_worse_eye_is_never_milder(better, worse):
    for other, retakes_left in product(EyeState, RETAKES):
        milder = decided(better, other, retakes_left)
        graver = decided(worse, other, retakes_left)
        assert DECISION_ORDER.index(graver) >= DECISION_ORDER.index(milder)


def test_outcome_with_fewer_tries_left_is_never_milder():
    for (right, left), retakes_left in product(PAIRS, RETAKES[1:]):
        fewer = decided(right, left, retakes_left - 1)
        more = decided(right, left, retakes_left)
        assert DECISION_ORDER.index(fewer) >= DECISION_ORDER.index(more)


@pytest.mark.parametrize("retakes_left", RETAKES)
def test_outcome_of_an_unknown_eye_never_sends_anybody_home(retakes_left):
    for other in EyeState:
        decision = decided(EyeState.UNGRADABLE, other, retakes_left)
        assert decision not in (Decision.ROUTINE, Decision.EARLY)


def test_outcome_names_both_eyes_and_the_next_step():
    outcome = case_outcome(EyeState.SEVERE, EyeState.ABSENT, retakes_left=2)

    assert outcome.reasons == (
        "Right eye: severe retinopathy",
        "Left eye: was not photographed",
    )
    assert outcome.next_step == NEXT_STEPS[Decision.REFER_URGENT]
    assert set(NEXT_STEPS) == set(Decision)
    assert [int(grade) for grade in GRADE_NAMES] == [0, 1, 2, 3, 4]


def photograph(grade: int | None, field: str = Field.MACULA, **flags) -> PhotographFinding:
    return PhotographFinding(field=field, grade=grade, **flags)


DISC = Field.DISC


@pytest.mark.parametrize(
    ("photographs", "state"),
    [
        ([], EyeState.ABSENT),
        ([photograph(0)], EyeState.NO_DR),
        ([photograph(0), photograph(3)], EyeState.SEVERE),
        ([photograph(0), photograph(2, DISC)], EyeState.MODERATE),
        ([photograph(None)], EyeState.UNGRADABLE),
        ([photograph(None), photograph(1)], EyeState.MILD),
        # Without a gradable macula, disease may be seen but never ruled out.
        ([photograph(0, DISC)], EyeState.UNGRADABLE),
        ([photograph(1, DISC)], EyeState.UNGRADABLE),
        ([photograph(None), photograph(0, DISC)], EyeState.UNGRADABLE),
        ([photograph(2, DISC)], EyeState.MODERATE),
        ([photograph(None), photograph(4, DISC)], EyeState.PROLIFERATIVE),
        # The flags of the operating point count more than the likeliest grade.
        ([photograph(0, referable=True)], EyeState.MODERATE),
        ([photograph(0, vision_threatening=True)], EyeState.MODERATE),
        ([photograph(1, referable=True, vision_threatening=True)], EyeState.MODERATE),
        ([photograph(2, referable=True, vision_threatening=True)], EyeState.SEVERE),
        ([photograph(4, referable=True)], EyeState.PROLIFERATIVE),
        ([photograph(0, DISC, referable=True)], EyeState.MODERATE),
    ],
)
def test_eye_state_is_the_worst_that_its_photographs_show(photographs, state):
    assert eye_state(photographs) == state


def test_eye_reason_says_when_a_flag_decided_against_the_likeliest_grade():
    assert eye_reason("Left eye", EyeState.MODERATE, 2) == "Left eye: moderate retinopathy"
    assert eye_reason("Left eye", EyeState.MODERATE, 1) == (
        "Left eye: referable retinopathy can't be ruled out, though mild retinopathy is likeliest"
    )
    assert "sight-threatening" in eye_reason("Left eye", EyeState.SEVERE, 2)
