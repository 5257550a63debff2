"""The label table: one row a picture, read and written as a stream.

A data folder holds `labels.csv` and the pictures that it names: as files below the folder
(`shard` empty), or in the tar shards of the column `shard`. Beside it may stand what was decided
about the rows: `quarantine.csv` and `groups.csv` (see `cleaning`), `split.json` (see `splitting`).
"""

import csv
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TextIO

from training.engine.errors import DataInvalid

LABELS, QUARANTINE, GROUPS, MANIFEST = "labels.csv", "quarantine.csv", "groups.csv", "split.json"
COLUMNS = (
    "image",
    "modality",
    "variant",
    "source",
    "grade",
    "dme",
    "gradable",
    "eyeq",
    "maculopathy",
    "camera",
    "split",
    "patient",
    "eye",
    "sha256",
    "shard",
)
KEPT = "keep"  # in the quarantine's column `decision`: a person looked, and the row stays in
SIDECAR_COLUMNS = {QUARANTINE: ("image", "reason"), GROUPS: ("image", "group")}
GRADE_NAMES = {
    "nodr": 0,
    "mild": 1,
    "moderate": 2,
    "severe": 3,
    "proliferatedr": 4,
    "proliferativedr": 4,
    "proliferative": 4,
    **{f"{grade}{zeros}": grade for grade in range(5) for zeros in ("", ".0")},
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes a cell that begins like this
SHOWN_IN_TABLES = ("image", "source", "variant", "camera", "split", "patient")


@dataclass(frozen=True, kw_only=True, slots=True)
class Eye:
    """One labelled picture. What nobody said is None, or empty for `eye` and `group`."""

    image: str
    shard: str
    source: str
    variant: str
    camera: str
    split: str
    patient: str
    sha256: str
    grade: int | None
    gradable: bool | None
    eye_quality: int | None
    maculopathy: bool | None = None
    eye: str = ""  # left or right
    group: str = ""  # pictures of one eye that are too alike to stand on two sides

    @property
    def true_colour(self) -> bool:
        """Say whether the picture looks as a camera makes it, and as clinics upload it."""
        return self.variant.startswith("colour")

    @property
    def domain(self) -> str:
        """Name the camera group that bias is looked for in."""
        return f"{self.source} {self.camera or self.variant}"


def eye_of(row: dict[str, str], group: str = "") -> Eye:
    """Make an eye of a table row. Words that many rows share are kept once."""
    return Eye(
        image=row["image"],
        shard=sys.intern(row["shard"]),
        source=sys.intern(row["source"]),
        variant=sys.intern(row["variant"]),
        camera=sys.intern(row["camera"]),
        split=sys.intern(row["split"]),
        patient=row["patient"],
        sha256=row["sha256"],
        grade=int(row["grade"]) if row["grade"] else None,
        gradable=row["gradable"] == "1" if row["gradable"] else None,
        eye_quality=int(row["eyeq"]) if row["eyeq"] else None,
        maculopathy=row["maculopathy"] == "1" if row["maculopathy"] else None,
        eye=sys.intern(row["eye"]),
        group=group,
    )


def parse_grade(text: str) -> int | None:
    """Read a grade from 0 to 4 or its name, whatever the spelling; None when it is neither."""
    return GRADE_NAMES.get(re.sub(r"[\s_-]", "", text).lower())


@contextmanager
def open_table(path: Path, *, restkey: str | None = None) -> Iterator[csv.DictReader]:
    """Open a CSV file to read; spreadsheets begin theirs with a byte order mark.

    Raises DataInvalid, while it is read too, when it is no table in UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield csv.DictReader(file, restkey=restkey)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataInvalid(
            f"{path.name} can't be read as CSV.",
            "Give a table in UTF-8 with commas between its columns.",
        ) from error


def read_rows(data: Path) -> Iterator[dict[str, str]]:
    """Stream the rows of labels.csv. Raises DataInvalid when it or one of its columns is missing,
    or a row has a cell too few or too many."""
    path = data / LABELS
    if not path.is_file():
        raise DataInvalid(f"{data.name}/{LABELS} is missing.", "Give --data the right folder.")
    with open_table(path, restkey="") as table:
        missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise DataInvalid(
                f"{LABELS} has no column {', '.join(missing)}.",
                "Bring the set into this format with import_dataset.",
            )
        for row in table:
            if "" in row or None in row.values():
                raise DataInvalid(
                    f"Line {table.line_num} of {LABELS} has another number of cells than columns.",
                    "Mend the line, or export the table again.",
                )
            yield row


def is_picture(row: dict[str, str]) -> bool:
    """Say whether a row is a photograph of an eye, not a mask that was drawn over one."""
    return row["modality"] == "fundus" and not row["variant"].startswith("mask")


def row_problem(row: dict[str, str]) -> str:
    """Say why a row can't be used; empty when it can."""
    limits = {"grade": "01234", "gradable": "01", "eyeq": "012", "maculopathy": "01"}
    for name, allowed in limits.items():
        if row[name] and (len(row[name]) != 1 or row[name] not in allowed):
            return f"{name} is {row[name]!r}, not one of {', '.join(allowed)}"
    for name in ("image", "shard"):
        if row[name] and not is_inside(row[name]):
            return f"{name} {row[name]!r} points out of the folder"
    for name in SHOWN_IN_TABLES:
        if row[name].startswith(FORMULA):
            return f"{name} {row[name]!r} begins like a formula of a spreadsheet"
    return "" if row["image"] else "no image is named"


def is_inside(name: str) -> bool:
    """Say whether a relative name stays below the folder it is relative to."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def read_sidecar(data: Path, name: str) -> list[dict[str, str]]:
    """Read quarantine.csv or groups.csv; no rows when there is none. They name few pictures.

    Raises DataInvalid when a column is missing.
    """
    path = data / name
    if not path.is_file():
        return []
    with open_table(path) as table:
        known = table.fieldnames or ()
        missing = [column for column in SIDECAR_COLUMNS.get(name, ()) if column not in known]
        if missing:
            raise DataInvalid(
                f"{name} has no column {', '.join(missing)}.",
                "Put the column back, with commas between columns, or clean the set again.",
            )
        return list(table)


def quarantined(data: Path) -> frozenset[str]:
    """Name the pictures that are kept out, but for those that a person decided to keep."""
    rows = read_sidecar(data, QUARANTINE)
    return frozenset(row["image"] for row in rows if not is_kept(row))


def is_kept(row: dict[str, str]) -> bool:
    """Say whether a person decided that a row of the quarantine stays in."""
    return (row.get("decision") or "").strip().lower() == KEPT


def duplicate_groups(data: Path) -> dict[str, str]:
    """Map pictures to the duplicate group that they belong to."""
    return {row["image"]: sys.intern(row["group"]) for row in read_sidecar(data, GROUPS)}


@contextmanager
def replaced(path: Path) -> Iterator[TextIO]:
    """Open a text file to write that takes the path's place at the end, or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        yield file
    partial.replace(path)


def write_table(file: TextIO, columns: Iterable[str], rows: Iterable[dict[str, object]]) -> int:
    """Write a table with its header; returns the number of rows."""
    table = csv.DictWriter(file, list(columns), lineterminator="\n")
    table.writeheader()
    count = 0
    for row in rows:
        table.writerow(row)
        count += 1
    return count


def file_sha256(path: Path) -> str:
    """Hash a file without reading it whole into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(data: Path) -> dict | None:
    """Read split.json; None when the split was never frozen. Raises DataInvalid when broken."""
    path = data / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if re.fullmatch("[0-9a-f]{64}", manifest["labels_sha256"]):
            return manifest
    except (ValueError, KeyError, TypeError) as error:
        raise DataInvalid(f"{MANIFEST} can't be read.", "Copy the data folder again.") from error
    raise DataInvalid(f"{MANIFEST} names no hash of {LABELS}.", "Copy the data folder again.")


def check_frozen(data: Path) -> None:
    """Refuse a label table that was edited after its split was frozen. Raises DataInvalid."""
    manifest = read_manifest(data)
    if manifest and file_sha256(data / LABELS) != manifest["labels_sha256"]:
        raise DataInvalid(
            f"{LABELS} was changed after {MANIFEST} froze its split.",
            "Put the frozen table back, or let split_dataset --add check the change and freeze it.",
        )
