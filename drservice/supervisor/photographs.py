"""Photographs of a folder, put together into cases of two eyes by their names."""

import re
from collections import defaultdict
from pathlib import Path

from drservice.embedded import ServiceError
from workspace.intake import DISC_WORDS, LEFT_WORDS, RIGHT_WORDS, laterality_guess

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})
MACULA_WORDS = frozenset({"macula", "fovea"})
UNTOLD_WORDS = RIGHT_WORDS | LEFT_WORDS | DISC_WORDS | MACULA_WORDS
NAMING = (
    "Name them like 13_left.jpg and 13_right.jpg (or OD and OS, or L and R): the rest of the name "
    "says which two belong together."
)


def visit_of(name: str) -> str:
    """Return a file name without what it says of eye and field: equal for one visit's pictures."""
    words = re.findall(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+", Path(name).stem)
    return " ".join(word.lower() for word in words if word.lower() not in UNTOLD_WORDS)


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
    _refuse("do not tell the eye", [one.name for one in files if not laterality_guess(one.name)])
    visits: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        visits[visit_of(file.name)].append(file)
    one_eyed = [one[0].name for one in visits.values() if len(_eyes(one)) == 1]
    _refuse("have no partner for the other eye", one_eyed)
    return list(visits.values())


def _eyes(files: list[Path]) -> set[str]:
    return {laterality_guess(file.name) for file in files}


def _refuse(what: str, names: list[str]) -> None:
    if not names:
        return
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    raise ServiceError(f"The names of {len(names)} photographs {what}: {listed}.", NAMING)
