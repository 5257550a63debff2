"""The eyes a model learns from: read whole, checked for leaks, and chosen by split.

This is the door to a data folder for everything that learns or measures. What is behind it:
`labels` (the table), `pictures` (shards and files) and `bands` (the cache).
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from training.engine.bands import load_bands
from training.engine.errors import DataInvalid, SplitForbidden
from training.engine.labels import (
    Eye,
    check_frozen,
    duplicate_groups,
    eye_of,
    is_picture,
    quarantined,
    read_rows,
    row_problem,
)
from training.engine.pictures import read_pictures

__all__ = [
    "Eye",
    "check_no_leak",
    "check_tuning_split",
    "data_fingerprint",
    "eyes_to_learn_from",
    "graded",
    "load_bands",
    "read_eyes",
    "read_pictures",
]

LEARNING_SPLITS = frozenset({"train"})
TUNING_SPLITS = frozenset({"train", "val"})


def read_eyes(data: Path) -> list[Eye]:
    """Read labels.csv without the rows in quarantine.

    Raises DataInvalid when the table is missing or broken, was changed after its split was frozen,
    lists a picture twice, or has a patient, a file or a duplicate group in two splits.
    """
    left_out, groups = quarantined(data), duplicate_groups(data)
    check_frozen(data)
    eyes: list[Eye] = []
    listed: set[str] = set()
    for line, row in enumerate(read_rows(data), start=2):
        if not is_picture(row) or row["image"] in left_out:
            continue
        if problem := _problem_of(row, listed):
            raise DataInvalid(
                f"labels.csv, row {line}: {problem}.", "Mend the row, or import the set anew."
            )
        listed.add(row["image"])
        eyes.append(eye_of(row, groups.get(row["image"], "")))
    check_no_leak(eyes)
    return eyes


def _problem_of(row: dict[str, str], listed: set[str]) -> str:
    return row_problem(row) or ("the picture is listed before" if row["image"] in listed else "")


def check_no_leak(eyes: Iterable[Eye]) -> None:
    """Refuse a table in which a patient, a file or a duplicate group stands in two splits.

    Rows without a split are used by nobody, so they leak nothing.
    """
    seen: dict[tuple[str, str], str] = {}
    for eye in eyes:
        for key in ("patient", "sha256", "group"):
            name = getattr(eye, key)
            if name and eye.split and seen.setdefault((key, name), eye.split) != eye.split:
                raise DataInvalid(
                    f"The same {key} stands in {seen[key, name]!r} and {eye.split!r}.",
                    "Let clean_dataset put one side into quarantine, or split anew.",
                )


def eyes_to_learn_from(eyes: Sequence[Eye]) -> list[Eye]:
    """Keep the graded and gradable eyes of the training split."""
    return [eye for eye in graded(eyes, "train") if eye.split in LEARNING_SPLITS]


def graded(eyes: Sequence[Eye], split: str) -> list[Eye]:
    """Keep the eyes of a split that have a grade and that nobody called ungradable."""
    return [
        eye
        for eye in eyes
        if eye.split == split and eye.grade is not None and eye.gradable is not False
    ]


def check_tuning_split(split: str) -> None:
    """Refuse to fit anything on a split that is kept for checking. Raises SplitForbidden."""
    if split not in TUNING_SPLITS:
        raise SplitForbidden(
            f"The split {split!r} is kept for checking and never tuned on.", "Tune on val."
        )


def data_fingerprint(eyes: Sequence[Eye]) -> str:
    """Name exactly which pictures with which grades these are."""
    lines = sorted(f"{eye.image} {eye.sha256} {eye.grade} {eye.split}" for eye in eyes)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
