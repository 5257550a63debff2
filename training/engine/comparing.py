"""Graded photographs against a benchmark's labels: joined by name, counted, and measured.

Two tables come in: what `grade_folder` wrote (or any table with a name and a grade), and the
benchmark's own. Nothing is guessed: a name that stands in one alone is reported, and one that
stands twice in a table is left out, because nobody knows which line counts. So is a line without
a name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inference.engine.schemas import REFERABLE_GRADE, VISION_THREATENING_GRADE
from training.engine import metrics
from training.engine.errors import DataInvalid
from training.engine.evaluation import area, grade_figures, share
from training.engine.labels import open_table, parse_grade

NAME_COLUMNS = ("file", "image", "id", "id_code", "image_id", "filename", "name")
GRADE_COLUMNS = ("grade", "diagnosis", "level", "label")
GIVEN_COLUMNS = ("given_grade", *GRADE_COLUMNS)
PATIENT_COLUMNS = ("patient", "patient_id")
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})
CLASS_COLUMNS = tuple(f"probability_{grade}" for grade in range(5))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One photograph's line of a table. `grade` is None where the table gives none."""

    name: str  # as it stands in the table
    grade: int | None
    values: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table's rows by the name they are joined by, without the lines whose name is doubled."""

    rows: dict[str, Row]
    doubled: tuple[str, ...]  # the names that stand in it twice or more
    lines: int
    nameless: int

    @property
    def doubled_lines(self) -> int:
        """Count the lines that are left out for their name."""
        return self.lines - self.nameless - len(self.rows)


def compare_tables(predicted: Path, benchmark: Path) -> dict[str, Any]:
    """Compare two tables. Returns counts, the names that don't match, and figures with intervals.

    The order of rows changes nothing. Raises DataInvalid when a table has no name or grade
    column, holds a grade outside 0 to 4, or when no name stands in both.
    """
    given = read_table(predicted, GIVEN_COLUMNS)
    truth = read_table(benchmark, GRADE_COLUMNS)
    given, truth = _joinable(given, truth)
    both = sorted(given.rows.keys() & truth.rows.keys())
    if not both:
        raise DataInvalid(
            "No name stands in both tables.", "Give tables about the same photographs."
        )
    unlabelled = [name for name in both if truth.rows[name].grade is None]
    ungraded = [
        name for name in both if given.rows[name].grade is None and name not in set(unlabelled)
    ]
    left_out = {*unlabelled, *ungraded}
    compared = [name for name in both if name not in left_out]
    return {
        "counts": {
            "predicted_rows": given.lines,
            "benchmark_rows": truth.lines,
            "compared": len(compared),
            "without_grade": len(ungraded),
            "without_label": len(unlabelled),
            "missing": len(truth.rows.keys() - given.rows.keys()),
            "extra": len(given.rows.keys() - truth.rows.keys()),
            "doubled_in_predicted": given.doubled_lines,
            "doubled_in_benchmark": truth.doubled_lines,
            "without_name_in_predicted": given.nameless,
            "without_name_in_benchmark": truth.nameless,
        },
        "without_grade_by_status": _by_status([given.rows[name] for name in ungraded]),
        "names": {
            "without_grade": [given.rows[name].name for name in ungraded],
            "without_label": [truth.rows[name].name for name in unlabelled],
            "missing": sorted(truth.rows[n].name for n in truth.rows.keys() - given.rows.keys()),
            "extra": sorted(given.rows[n].name for n in given.rows.keys() - truth.rows.keys()),
            "doubled_in_predicted": list(given.doubled),
            "doubled_in_benchmark": list(truth.doubled),
        },
        "labels": {
            "predicted": _distribution(given.rows.values()),
            "benchmark": _distribution(truth.rows.values()),
            "predicted_compared": _distribution([given.rows[name] for name in compared]),
            "benchmark_compared": _distribution([truth.rows[name] for name in compared]),
        },
        "figures": _figures(
            [given.rows[name] for name in compared], [truth.rows[name] for name in compared]
        ),
    }


def read_table(path: Path, grade_columns: Sequence[str]) -> Table:
    """Read a table's names and grades; names that are the same but for case are the same."""
    with open_table(path) as table:
        known = [column for column in table.fieldnames or () if column]
        lines = list(table)
    name_column = _column(path, known, NAME_COLUMNS, "the photograph's name")
    grade_column = _column(path, known, grade_columns, "the grade")
    found: dict[str, list[Row]] = {}
    nameless = 0
    for number, line in enumerate(lines, start=2):
        name = (line[name_column] or "").strip()
        if not name:
            nameless += 1
            continue
        grade = _grade(path, number, line[grade_column])
        found.setdefault(_key(name), []).append(Row(name=name, grade=grade, values=line))
    return Table(
        rows={key: rows[0] for key, rows in found.items() if len(rows) == 1},
        doubled=tuple(
            sorted(min(row.name for row in rows) for rows in found.values() if len(rows) > 1)
        ),
        lines=len(lines),
        nameless=nameless,
    )


def _column(path: Path, known: Sequence[str], wanted: Sequence[str], what: str) -> str:
    by_lower = {column.strip().lower(): column for column in known}
    for name in wanted:
        if name in by_lower:
            return by_lower[name]
    raise DataInvalid(
        f"{path.name} has no column with {what}.",
        f"Name it one of {', '.join(wanted)}, and put commas between columns.",
    )


def _key(name: str) -> str:
    """Return a name without its ending, with its folders, as it is joined by at first."""
    path = Path(name.replace("\\", "/"))
    bare = path.with_suffix("") if path.suffix.lower() in PICTURE_SUFFIXES else path
    return bare.as_posix().lower()


def _grade(path: Path, number: int, text: str | None) -> int | None:
    if not (text or "").strip():
        return None
    if (grade := parse_grade(text)) is None:
        raise DataInvalid(
            f"{path.name}, row {number}: {text!r} is no grade.", "Grades are 0 to 4, or empty."
        )
    return grade


def _joinable(given: Table, truth: Table) -> tuple[Table, Table]:
    """Drop the folders of names when only then the tables meet, and every name stays unique."""
    if given.rows.keys() & truth.rows.keys():
        return given, truth
    bare = [_without_folders(table) for table in (given, truth)]
    return (bare[0], bare[1]) if all(bare) else (given, truth)


def _without_folders(table: Table) -> Table | None:
    rows = {key.rpartition("/")[2]: row for key, row in table.rows.items()}
    if len(rows) < len(table.rows):
        return None
    return replace(table, rows=rows)


def _by_status(rows: Sequence[Row]) -> dict[str, int]:
    """Count rows without a grade by what `grade_folder` said of them."""
    statuses = [row.values.get("status") or "no grade" for row in rows]
    return {status: statuses.count(status) for status in sorted(set(statuses))}


def _distribution(rows: Any) -> dict[str, Any]:
    grades = [row.grade for row in rows]
    return {"by_grade": [grades.count(grade) for grade in range(5)], "none": grades.count(None)}


def _figures(given: Sequence[Row], truth: Sequence[Row]) -> dict[str, Any]:
    if not truth:
        return {"eyes": 0}
    grades = np.array([row.grade for row in truth], int)
    told = np.array([row.grade for row in given], int)
    patients = [_patient(row) for row in truth]
    counts = metrics.resample(patients)
    return {
        "eyes": len(grades),
        "patients": len(set(patients)) if any(map(_named_patient, truth)) else None,
        **grade_figures(grades, told, counts),
        "referable": _threshold_figures(given, grades, told, counts, "referable"),
        "vision_threatening": _threshold_figures(given, grades, told, counts, "vision_threatening"),
    }


def _named_patient(row: Row) -> str:
    return next((row.values[name] for name in PATIENT_COLUMNS if row.values.get(name)), "")


def _patient(row: Row) -> str:
    """Name the patient by whom photographs are drawn together; without one it is its own."""
    return _named_patient(row) or f"photograph {row.name}"


def _threshold_figures(
    given: Sequence[Row], grades: np.ndarray, told: np.ndarray, counts: np.ndarray, name: str
) -> dict[str, Any]:
    """Compare what the grades say; the area needs probabilities, so it may be missing."""
    least = {"referable": REFERABLE_GRADE, "vision_threatening": VISION_THREATENING_GRADE}[name]
    positive = grades >= least
    probability = _probabilities(given, f"{name}_probability", least)
    figures = {
        "sensitivity": share(*metrics.sensitivity(positive, told >= least)),
        "specificity": share(*metrics.specificity(positive, told >= least)),
        "area": None,
        "calibration_error": None,
    }
    if probability is not None:
        error = metrics.calibration_error(positive, probability)
        figures["area"] = area(positive, probability, counts)
        figures["calibration_error"] = round(error, 4)
    return figures


def _probabilities(rows: Sequence[Row], column: str, least: int) -> np.ndarray | None:
    """Return P(grade >= least) [n], from its own column or the classes'; None without either."""
    for columns in ((column,), CLASS_COLUMNS[least:]):
        try:
            told = [sum(float(row.values[name]) for name in columns) for row in rows]
        except (KeyError, ValueError, TypeError):
            continue
        if all(-1e-6 <= value <= 1 + 1e-6 for value in told):
            return np.clip(told, 0.0, 1.0)
    return None
