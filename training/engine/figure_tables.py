"""The rows of the tables that the card and the report both show; each writes a figure its way."""

from collections.abc import Callable, Mapping
from typing import Any

from inference.engine.schemas import GRADES

GRADE_COLUMNS = ["grade", "precision", "recall", "F1", "area, this grade or not"]
GROUP_COLUMNS = [
    "",
    "eyes",
    "referable area",
    "sensitivity",
    "specificity",
    "kappa",
    "calibration error",
]

# How a figure with its interval is written, and how one without.
Cell = Callable[[Any], str]
Number = Callable[[float | None], str]


def grade_rows(per_grade: list[Mapping[str, Any]], cell: Cell, number: Number) -> list[list[str]]:
    """Return a row for each grade, in the order of GRADE_COLUMNS."""
    return [
        [
            f"{each['grade']} {GRADES[each['grade']]}",
            cell(each["precision"]),
            cell(each["recall"]),
            number(each["f1"]),
            cell(each["auc"]),
        ]
        for each in per_grade
    ]


def group_rows(groups: Mapping[str, Any], cell: Cell, number: Number) -> list[list[str]]:
    """Return a row for each group of eyes, in the order of GROUP_COLUMNS."""
    return [
        [
            name,
            str(each["eyes"]),
            cell(each["referable"]["auc"]),
            cell(each["referable"]["sensitivity"]),
            cell(each["referable"]["specificity"]),
            cell(each["kappa"]),
            number(each["referable_calibration_error"]["after"]),
        ]
        for name, each in groups.items()
    ]
