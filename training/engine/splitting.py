"""Split a label table for good: by group, even in every stratum, frozen in a manifest.

A group is everything that shares a patient, a source file or a duplicate group, directly or through
others: it goes to one side as a whole. A stratum is grade, source, camera and gradability. The same
table and seed give the same split, whatever the order of the rows.

The table is read as a stream, twice; a row costs about fifty bytes of memory.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.engine.errors import DataInvalid
from training.engine.grouping import hash64, joined
from training.engine.labels import (
    LABELS,
    MANIFEST,
    check_frozen,
    duplicate_groups,
    file_sha256,
    quarantined,
    read_manifest,
    read_rows,
    replaced,
    row_problem,
    write_table,
)
from training.engine.progress import shown

GOLDEN = (5**0.5 - 1) / 2
KEYS = ("patient", "sha256", "group")
UNASSIGNED = 0


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How a split is made. Shares are of the rows; what is left over is train."""

    val: float = 0.15
    test: float = 0.15
    seed: int = 1
    second_site: tuple[str, ...] = ()  # sources that are kept whole for the outside check

    def check(self) -> None:
        """Raises DataInvalid when the shares leave nothing to learn from."""
        if not (self.val >= 0 and self.test >= 0 and self.val + self.test < 1):
            raise DataInvalid(
                f"val {self.val} and test {self.test} leave nothing for train.",
                "Give shares that add up to less than 1.",
            )


@dataclass(kw_only=True)
class Scan:
    """What a split needs to know of n rows, as numbers."""

    images: array = field(default_factory=lambda: array("Q"))  # [n] hash of the name
    keys: dict[str, array] = field(default_factory=lambda: {key: array("Q") for key in KEYS})
    strata: array = field(default_factory=lambda: array("l"))  # [n] number of the stratum
    splits: array = field(default_factory=lambda: array("b"))  # [n] number of the split, 0: none
    out: array = field(default_factory=lambda: array("b"))  # [n] 1: in quarantine, gets no split
    second: array = field(default_factory=lambda: array("b"))  # [n] 1: from a second site
    sources: set[str] = field(default_factory=set)
    stratum_names: dict[tuple[str, ...], int] = field(default_factory=dict)
    split_names: dict[str, int] = field(default_factory=lambda: {"": UNASSIGNED})
    fingerprint: int = 0


def make_split(data: Path, plan: SplitPlan) -> dict[str, Any]:
    """Split a table that has no split yet, and freeze it. Returns the manifest.

    Post-state: every row of labels.csv that is not in quarantine has a split, split.json says
    which table that was. Raises DataInvalid, with nothing changed, when there is a split already.
    """
    plan.check()
    if done := _finish_interrupted(data):
        return done
    if (data / MANIFEST).is_file():
        raise DataInvalid(
            "The split of this folder is frozen.",
            "Give --add for new rows, or import the set into a new folder without its splits.",
        )
    scan = _scan(data, plan)
    if any(scan.splits):
        raise DataInvalid(
            f"{LABELS} has splits already.",
            "Give --freeze to freeze them as they stand, or import the set without them.",
        )
    return _assign_and_freeze(data, plan, scan, what="split")


def extend_split(data: Path, plan: SplitPlan) -> dict[str, Any]:
    """Give new rows a split, and freeze the table again. Old rows keep theirs, and a source that
    is kept for the outside check stays that without being named again.

    Raises DataInvalid, with nothing changed, when an old row's split, patient, file or name is not
    what was frozen, when a new row belongs to groups of two splits, or when a source is to be kept
    that was learned from.
    """
    plan.check()
    if done := _finish_interrupted(data):
        return done
    manifest = read_manifest(data)
    if manifest is None:
        raise DataInvalid("The split of this folder was never frozen.", "Leave --add out.")
    plan = _with_kept_sources(plan, manifest)
    scan = _scan(data, plan)
    if _hex(scan.fingerprint) != manifest["assignment"]:
        raise DataInvalid(
            "Rows that were split before are gone, renamed or in another split.",
            "Put the old rows back as they were; new rows have an empty split.",
        )
    return _assign_and_freeze(data, plan, scan, what="add", before=manifest)


def _with_kept_sources(plan: SplitPlan, manifest: dict[str, Any]) -> SplitPlan:
    """Add the sources of which every old row is of the second site."""
    elsewhere, kept = set(), set()
    for name, told in manifest["splits"].items():
        (kept if name == "second_site" else elsewhere).update(told["sources"])
    known = sorted(elsewhere.intersection(plan.second_site))
    if known:
        raise DataInvalid(
            f"Rows of {', '.join(known)} are in other splits already.",
            "Only a source that nobody has learned from or tuned on can be kept for the check.",
        )
    return replace(plan, second_site=tuple(sorted(kept - elsewhere | set(plan.second_site))))


def freeze_split(data: Path) -> dict[str, Any]:
    """Freeze the splits that stand in a table. Raises DataInvalid when they leak."""
    if (data / MANIFEST).is_file():
        check_frozen(data)
        raise DataInvalid("The split of this folder is frozen.", "There is nothing to do.")
    scan = _scan(data, SplitPlan())
    if not any(scan.splits):
        raise DataInvalid(f"{LABELS} has no splits to freeze.", "Leave --freeze out.")
    splits = np.array(scan.splits)
    _check_no_overlap(scan, splits)
    manifest = _manifest(scan, splits, _hex(scan.fingerprint), file_sha256(data / LABELS))
    manifest["steps"] = [{"what": "freeze", "rows": manifest["rows"]}]
    _write_manifest(data, manifest)
    return manifest


def _scan(data: Path, plan: SplitPlan) -> Scan:
    left_out, groups = quarantined(data), duplicate_groups(data)
    scan, total = Scan(), 0
    for line, row in enumerate(shown(read_rows(data), "reading"), start=2):
        if problem := row_problem(row):
            raise DataInvalid(f"{LABELS}, row {line}: {problem}.", "Mend the row.")
        scan.images.append(hash64(row["image"]))
        for key in KEYS:
            name = groups.get(row["image"], "") if key == "group" else row[key]
            scan.keys[key].append(hash64(name) if name else 0)
        stratum = (row["grade"], row["source"], row["camera"], row["gradable"])
        scan.strata.append(scan.stratum_names.setdefault(stratum, len(scan.stratum_names)))
        scan.splits.append(scan.split_names.setdefault(row["split"], len(scan.split_names)))
        scan.out.append(row["image"] in left_out)
        scan.second.append(row["source"] in plan.second_site)
        scan.sources.add(row["source"])
        if row["split"]:
            total += _row_number(row, row["split"])
    if not scan.images:
        raise DataInvalid(f"{LABELS} has no rows.", "Import pictures first.")
    twice = len(scan.images) - len(np.unique(scan.images))
    if twice:
        raise DataInvalid(f"{twice} pictures are listed twice.", "Leave one row of each.")
    unknown = sorted(set(plan.second_site) - scan.sources)
    if unknown:
        raise DataInvalid(
            f"No row is of the source {', '.join(unknown)}.",
            f"Name as --second-site one of: {', '.join(sorted(scan.sources))}.",
        )
    scan.fingerprint = total
    return scan


def _assign_and_freeze(
    data: Path, plan: SplitPlan, scan: Scan, *, what: str, before: dict | None = None
) -> dict[str, Any]:
    splits = _assign(scan, plan)
    _check_no_overlap(scan, splits)
    names = {number: name for name, number in scan.split_names.items()}
    partial = data / f"{LABELS}.partial"
    fingerprint = 0

    def rows() -> Iterator[dict[str, str]]:
        nonlocal fingerprint
        numbered = zip(read_rows(data), splits, strict=True)
        for row, number in shown(numbered, "writing", total=len(splits)):
            row["split"] = names[int(number)]
            if number != UNASSIGNED:
                fingerprint += _row_number(row, row["split"])
            yield row

    columns = list(next(read_rows(data)))
    with partial.open("w", newline="", encoding="utf-8") as file:
        write_table(file, columns, rows())
    manifest = _manifest(scan, splits, _hex(fingerprint), file_sha256(partial))
    step = {
        "what": what,
        "seed": plan.seed,
        "val": plan.val,
        "test": plan.test,
        "second_site": list(plan.second_site),
        "rows": int(np.count_nonzero(splits) - np.count_nonzero(scan.splits)),
    }
    manifest["steps"] = [*(before["steps"] if before else []), step]
    # The manifest names the new table before that takes its place: stopped in between, the next
    # call finds the table it names and finishes.
    _write_manifest(data, manifest)
    partial.replace(data / LABELS)
    return manifest


def _finish_interrupted(data: Path) -> dict[str, Any] | None:
    """Put a finished table into place whose manifest was written, if the last call was stopped."""
    manifest, partial = read_manifest(data), data / f"{LABELS}.partial"
    if manifest is None or not partial.is_file():
        return None
    if file_sha256(partial) != manifest["labels_sha256"]:
        return None
    partial.replace(data / LABELS)
    return manifest


def _assign(scan: Scan, plan: SplitPlan) -> np.ndarray:
    """Return the number of every row's split [n]; rows that have one keep it."""
    for name in ("train", "val", "test", "second_site"):
        scan.split_names.setdefault(name, len(scan.split_names))
    number = scan.split_names
    splits = np.array(scan.splits)
    usable = np.flatnonzero(np.array(scan.out) == 0)
    group = joined(len(usable), keys=[np.array(values)[usable] for values in scan.keys.values()])
    of_group = _known_splits(group, splits[usable], np.array(scan.second)[usable], number)

    size = np.bincount(group)
    first = np.full(len(size), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(first, group, np.array(scan.images, np.uint64)[usable])
    stratum = _group_strata(scan, usable, group)
    free = np.flatnonzero(of_group == UNASSIGNED)
    order = free[np.lexsort((_mixed(first[free], plan.seed), size[free], stratum[free]))]
    # Multiples of the golden ratio are even over every stretch of the order, so over every stratum.
    start = float(_mixed(np.zeros(1, np.uint64), plan.seed)[0]) / 2**64
    ticks = (start + GOLDEN * np.arange(len(order))) % 1.0
    of_group[order] = np.select(
        [ticks < plan.test, ticks < plan.test + plan.val],
        [number["test"], number["val"]],
        number["train"],
    )
    empty = splits[usable] == UNASSIGNED
    splits[usable[empty]] = of_group[group[empty]]
    return splits


def _known_splits(
    group: np.ndarray, splits: np.ndarray, second: np.ndarray, number: dict[str, int]
) -> np.ndarray:
    """Return the split that each group has already; a second site's groups are kept whole."""
    known = np.full(group.max(initial=-1) + 1, UNASSIGNED, np.int8)
    rows = np.flatnonzero(splits)
    known[group[rows]] = splits[rows]
    kept = np.flatnonzero((second == 1) & (splits == UNASSIGNED))
    torn = np.count_nonzero(known[group[rows]] != splits[rows])
    torn += np.count_nonzero(
        (known[group[kept]] != UNASSIGNED) & (known[group[kept]] != number["second_site"])
    )
    known[group[kept]] = number["second_site"]
    if torn:
        raise DataInvalid(
            f"{torn} rows share a patient or a photograph with another split.",
            "Let clean_dataset put one side into quarantine, or leave the new rows out.",
        )
    return known


def _group_strata(scan: Scan, usable: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return each group's stratum: its rarest, numbered in the order of the names."""
    strata = np.array(scan.strata)[usable]
    counts = np.bincount(strata, minlength=len(scan.stratum_names))
    by_rarity = np.argsort(counts, kind="stable")
    rank = np.empty_like(by_rarity)
    rank[by_rarity] = np.arange(len(by_rarity))
    rarest = np.full(group.max(initial=-1) + 1, len(rank))
    np.minimum.at(rarest, group, rank[strata])
    in_order = {name: place for place, name in enumerate(sorted(scan.stratum_names))}
    places = np.array([in_order[name] for name in scan.stratum_names])
    return places[by_rarity[rarest]]


def _check_no_overlap(scan: Scan, splits: np.ndarray) -> None:
    """Refuse a split in which a key stands on two sides, counted anew from the finished split."""
    for key, values in scan.keys.items():
        names = np.array(values)
        rows = np.flatnonzero((names != 0) & (splits != UNASSIGNED) & (np.array(scan.out) == 0))
        pairs = np.unique(np.stack([names[rows], splits[rows].astype(np.uint64)]), axis=1)
        torn = pairs.shape[1] - len(np.unique(pairs[0]))
        if torn:
            raise DataInvalid(
                f"{torn} times the same {key} stands in two splits.",
                "Let clean_dataset put one side into quarantine.",
            )


def _manifest(scan: Scan, splits: np.ndarray, assignment: str, labels: str) -> dict[str, Any]:
    grades = np.array([name[0] for name in scan.stratum_names])[np.array(scan.strata)]
    sources = np.array([name[1] for name in scan.stratum_names])[np.array(scan.strata)]
    patients = np.array(scan.keys["patient"])
    told = {}
    for name, number in sorted(scan.split_names.items()):
        here = splits == number
        if number != UNASSIGNED and here.any():
            told[name] = {
                "rows": int(here.sum()),
                "patients": len(np.unique(patients[here & (patients != 0)])),
                "grades": _counts(grades[here]),
                "sources": _counts(sources[here]),
            }
    return {
        "format": 1,
        "rows": len(splits),
        "without_split": int((splits == UNASSIGNED).sum()),
        "splits": told,
        "assignment": assignment,
        "labels_sha256": labels,
    }


def _counts(values: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(values, return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def _write_manifest(data: Path, manifest: dict[str, Any]) -> None:
    with replaced(data / MANIFEST) as file:
        file.write(json.dumps(manifest, indent=2) + "\n")


def _row_number(row: dict[str, str], split: str) -> int:
    """Turn a row's assignment into a number. Their sum does not depend on the rows' order."""
    text = "\0".join((row["image"], row["patient"], row["sha256"], split))
    return int.from_bytes(hashlib.sha256(text.encode()).digest())


def _hex(total: int) -> str:
    return f"{total % 2**256:064x}"


def _mixed(values: np.ndarray, seed: int) -> np.ndarray:
    """Shuffle 64-bit numbers by a seed (splitmix64). Returns uint64 of the same shape."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
