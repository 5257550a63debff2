"""Photographs of a folder, put together into cases of two eyes by their names."""

import re
from collections import defaultdict
from pathlib import Path

from drservice.embedded import ServiceError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})
EYE_WORD = re.compile(r"(?<![a-z0-9])(left|right|od|os|l|r)(?![a-z0-9])", re.IGNORECASE)
EYES = {"left": "OS", "os": "OS", "l": "OS", "right": "OD", "od": "OD", "r": "OD"}
NAMING = (
    "Name them like 13_left.jpg and 13_right.jpg (or OD and OS, or L and R): the rest of the name "
    "says which two belong together."
)


def eye_and_rest(name: str) -> tuple[str, str] | None:
    """Return the eye that a file name tells, and the rest of the name; None when it tells none."""
    stem = Path(name).stem
    words = list(EYE_WORD.finditer(stem))
    if not words:
        return None
    word = words[-1]
    rest = f"{stem[: word.start()]} {stem[word.end() :]}"
    return EYES[word.group().lower()], " ".join(re.split(r"[\W_]+", rest.lower())).strip()


def folder_cases(directory: Path) -> list[list[Path]]:
    """Return the photographs of a folder, one list for each case, in the order of their names.

    Raises ServiceError when there is none, or when some can't make a case of two eyes.
    """
    if not directory.is_dir():
        raise ServiceError(f"{directory} is not a folder.", "IMAGES= names a folder of images.")
    files = sorted(one for one in directory.iterdir() if one.suffix.lower() in SUFFIXES)
    if not files:
        raise ServiceError(
            f"{directory} holds no photograph.", f"It may hold {', '.join(sorted(SUFFIXES))}."
        )
    cases: dict[str, list[Path]] = defaultdict(list)
    eyes: dict[str, set[str]] = defaultdict(set)
    nameless = []
    for file in files:
        told = eye_and_rest(file.name)
        if told is None:
            nameless.append(file.name)
            continue
        eye, rest = told
        cases[rest].append(file)
        eyes[rest].add(eye)
    _refuse("do not tell the eye", nameless)
    one_eyed = [cases[rest][0].name for rest in cases if len(eyes[rest]) == 1]
    _refuse("have no partner for the other eye", one_eyed)
    return list(cases.values())


def _refuse(what: str, names: list[str]) -> None:
    if not names:
        return
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    raise ServiceError(f"The names of {len(names)} photographs {what}: {listed}.", NAMING)
