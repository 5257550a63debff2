"""What a case says of an eye, without a database."""

import pytest

from workspace.models import Case
from workspace.schemas import EyeState, Laterality


@pytest.mark.parametrize(
    ("absent_eye", "state"),
    [("", EyeState.UNGRADABLE), ("OS", EyeState.UNGRADABLE), ("OD", EyeState.ABSENT)],
)
def test_eye_without_photographs_is_absent_only_when_the_clinic_said_so(absent_eye, state):
    assert Case(absent_eye=absent_eye).eye_state(Laterality.OD) == state
