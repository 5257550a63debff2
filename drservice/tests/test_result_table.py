"""The table of the first cases: grades, what was refused, and where to look."""

from drservice.supervisor.first_case import Submission
from drservice.supervisor.result_table import result_table

GRADED = {
    "state": "graded",
    "reference": "AB12CD",
    "outcome": {"label": "Refer", "next_step": "Refer to an eye doctor."},
    "images": [
        {"laterality": "OD", "replaced": False, "graded": True, "quality": "good", "grade": 2,
         "grade_name": "Moderate", "quality_reasons": [], "referable_probability": 0.912,
         "vision_threatening_probability": 0.305},
        {"laterality": "OS", "replaced": False, "graded": True, "quality": "reject", "grade": None,
         "grade_name": "", "quality_reasons": ["blurred"], "referable_probability": None,
         "vision_threatening_probability": None},
        {"laterality": "OS", "replaced": True, "graded": False},
    ],
}  # fmt: skip
FAILED = {
    "state": "failed",
    "reason": "Grading stopped several times.",
    "reference": "EF34AB",
    "outcome": None,
    "images": [{"laterality": "OD", "replaced": False, "graded": False}],
}
REFUSED = {"state": "refused", "reason": "13_left.jpg: The file is damaged."}


def table_of(*submissions: Submission) -> list[str]:
    return [" ".join(line.split()) for line in result_table(submissions).splitlines()]


def test_graded_case_has_a_line_for_each_current_photograph_and_its_next_step():
    lines = table_of(Submission("http://127.0.0.1:8000/cases/1/", GRADED, 3.21))
    assert "AB12CD OD good 2 Moderate 0.91 0.30 Refer 3.2" in lines
    assert "OS reject blurred" in lines
    assert "http://127.0.0.1:8000/cases/1/ Refer to an eye doctor." in lines
    assert sum(line.startswith("OS") for line in lines) == 1
    assert any("not a certified medical device" in line for line in lines)


def test_case_without_result_says_why():
    failed = Submission("http://127.0.0.1:8000/cases/2/", FAILED, 60.0)
    refused = Submission("", REFUSED)
    lines = table_of(failed, refused)
    assert "EF34AB OD not graded failed 60.0" in lines
    assert "http://127.0.0.1:8000/cases/2/ failed: Grading stopped several times." in lines
    assert "refused: 13_left.jpg: The file is damaged." in lines
    assert not failed.graded
    assert not refused.graded


def test_case_that_was_graded_before_says_so():
    assert "before" in result_table([Submission("http://127.0.0.1:8000/cases/1/", GRADED)])
