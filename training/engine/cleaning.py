"""Find what would spoil a data set: broken pictures, duplicates, labels that contradict each other.

Nothing is deleted. `quarantine.csv` names the rows that readers leave out, with the reason and what
to do; a person may write "keep" into its column `decision`, and the row is back. `groups.csv` names
pictures of the same photograph, which a split keeps on one side.

Of exact duplicates one stays, as the others would only count twice. Near duplicates all stay, in
one group: a second photograph of an eye is worth learning from, and whoever takes two different
eyes for one has lost nothing.
"""

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inference.engine.decode import decode_photo
from inference.engine.errors import UnreadableImage
from training.engine.fingerprints import (
    HASH_ZOOMS,
    SAME_PHOTOGRAPH,
    SIDE,
    WAVES,
    alike,
    candidates,
    fingerprint_of,
)
from training.engine.grouping import hash64, joined
from training.engine.labels import (
    GROUPS,
    QUARANTINE,
    is_picture,
    read_rows,
    read_sidecar,
    replaced,
    row_problem,
    write_table,
)
from training.engine.pictures import in_threads, read_pictures
from training.engine.progress import shown

MIN_EDGE_PX = 96
QUARANTINE_COLUMNS = ("image", "reason", "group", "beside", "what_to_do", "decision")
WHAT_TO_DO = {
    "invalid_row": "mend the row's labels",
    "listed_twice": "leave one row of the picture: a decision here is about all of them",
    "missing": "copy the picture again",
    "unreadable": "export the picture again",
    "too_small": "find a larger copy",
    "conflicting_grades": "let an eye doctor grade the picture, then mend the rows that are wrong",
    "conflicting_gradability": "let an eye doctor look, then mend the rows that are wrong",
    "in_two_splits": "nothing, or split the set anew",
    "duplicate": "nothing: the same picture stays in once",
}
GUARDED = ("train", "val", "test", "second_site")  # a group in two splits stays in the later one
READABLE = ""


@dataclass(kw_only=True)
class Cleaned:
    """What was found. `reasons` counts rows in quarantine, `links` what groups are made of."""

    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)
    groups: int = 0
    across: list[tuple[str, ...]] = field(default_factory=list)  # image, split, image, split, ...
    quarantine: list[dict[str, str]] = field(default_factory=list)
    members: list[dict[str, str]] = field(default_factory=list)  # image, group


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What was seen of one picture."""

    problem: str = READABLE
    file: int = 0
    pixels: int = 0
    waves: np.ndarray | None = None
    fine: np.ndarray | None = None


@dataclass(kw_only=True)
class _Seen:
    """What was seen of n pictures; the large arrays lie in files."""

    problems: dict[int, str]  # of the rows that have one
    files: np.ndarray  # [n] uint64, hash of the file
    pixels: np.ndarray  # [n] uint64, hash of the decoded picture
    waves: np.ndarray  # [n, zooms, WAVES] float16
    fine: np.ndarray  # [n, SIDE, SIDE] int8


def clean_dataset(
    data: Path, *, out: Path | None = None, write: bool = True, min_edge_px: int = MIN_EDGE_PX
) -> Cleaned:
    """Look at every picture and every label, and put into quarantine what would spoil a model.

    Post-state: with `write`, quarantine.csv and groups.csv in `out` or else in the data folder.
    Raises DataInvalid when the table or a shard is missing.
    """
    with (
        tempfile.TemporaryDirectory(prefix="cleaning-") as scratch,
        closing(_table_of(data)) as table,
    ):
        seen = _look_at_all(data, table, Path(scratch), min_edge_px)
        told = _judge(table, seen)
    if write:
        folder = out or data
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder, told)
    return told


def _table_of(data: Path) -> sqlite3.Connection:
    """Copy the rows of pictures into a database on disk, numbered from 0."""
    table = sqlite3.connect("", isolation_level=None)
    table.row_factory = sqlite3.Row
    table.execute(
        "CREATE TABLE rows (number INTEGER PRIMARY KEY, image TEXT, shard TEXT, split TEXT,"
        " grade TEXT, gradable TEXT, eyeq TEXT, patient TEXT, sha256 TEXT, problem TEXT,"
        " side INTEGER, member INTEGER, same INTEGER, reason TEXT DEFAULT '')"
    )
    names = ("image", "shard", "split", "grade", "gradable", "eyeq", "patient", "sha256")
    rows = (
        (number, *(row[name] for name in names), row_problem(row))
        for number, row in enumerate(filter(is_picture, read_rows(data)))
    )
    table.execute("BEGIN")
    table.executemany(
        "INSERT INTO rows (number, image, shard, split, grade, gradable, eyeq, patient, sha256,"
        " problem) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    table.execute("COMMIT")
    return table


def _look_at_all(data: Path, table: sqlite3.Connection, scratch: Path, min_edge_px: int) -> _Seen:
    count = table.execute("SELECT count(*) FROM rows").fetchone()[0]
    seen = _Seen(
        problems={},
        files=np.zeros(count, np.uint64),
        pixels=np.zeros(count, np.uint64),
        waves=_on_disk(scratch / "waves.npy", np.float16, (count, len(HASH_ZOOMS), WAVES)),
        fine=_on_disk(scratch / "fine.npy", np.int8, (count, SIDE, SIDE)),
    )
    missing = set(range(count))
    for number, look in shown(_looks(data, table, min_edge_px), "looking", total=count):
        missing.discard(number)
        seen.files[number], seen.pixels[number] = look.file, look.pixels
        if look.problem:
            seen.problems[number] = look.problem
        else:
            seen.waves[number], seen.fine[number] = look.waves, look.fine
    seen.problems.update(dict.fromkeys(missing, "missing"))
    for (number,) in table.execute("SELECT number FROM rows WHERE problem != ''"):
        seen.problems[number] = "invalid_row"
    twice = "SELECT image FROM rows GROUP BY image HAVING count(*) > 1"
    for (number,) in table.execute(f"SELECT number FROM rows WHERE image IN ({twice})"):  # noqa: S608
        seen.problems[number] = "listed_twice"
    return seen


def _on_disk(path: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    if not shape[0]:
        return np.zeros(shape, dtype)
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def _looks(data: Path, table: sqlite3.Connection, min_edge_px: int) -> Iterator[tuple[int, _Look]]:
    def look(_name: str, content: bytes) -> _Look:
        return _look(content, min_edge_px)

    for (shard,) in table.execute("SELECT DISTINCT shard FROM rows ORDER BY shard").fetchall():
        numbers: dict[str, list[int]] = {}
        for number, image in table.execute(
            "SELECT number, image FROM rows WHERE shard = ? AND problem = ''", (shard,)
        ):
            numbers.setdefault(image, []).append(number)
        if not numbers:
            continue
        for name, seen in in_threads(look, read_pictures(data, [shard], set(numbers))):
            for number in numbers[name]:
                yield number, seen


def _look(content: bytes, min_edge_px: int) -> _Look:
    try:
        photo = decode_photo(content)
    except UnreadableImage:
        return _Look(problem="unreadable", file=hash64(content))
    if min(photo.size) < min_edge_px:
        return _Look(problem="too_small", file=hash64(content))
    waves, fine = fingerprint_of(photo)
    pixels = hash64(f"{photo.width}x{photo.height} ".encode() + photo.tobytes())
    return _Look(file=hash64(content), pixels=pixels, waves=waves, fine=fine)


def _judge(table: sqlite3.Connection, seen: _Seen) -> Cleaned:
    """Decide about every row; a row gets the first reason that fits it."""
    told = Cleaned(rows=len(seen.files))
    _find_groups(table, seen, told)
    table.execute("BEGIN")
    table.executemany(
        "UPDATE rows SET reason = ? WHERE number = ?",
        ((problem, number) for number, problem in seen.problems.items()),
    )
    _judge_conflicts(table, "grade", "conflicting_grades")
    _judge_conflicts(table, "gradable", "conflicting_gradability")
    _judge_sides(table, told)
    _judge_exact(table)
    table.execute("COMMIT")
    _collect(table, told)
    return told


def _find_groups(table: sqlite3.Connection, seen: _Seen, told: Cleaned) -> None:
    """Number each row's duplicate group (member), exact group (same) and side of a split (side)."""
    count = len(seen.files)
    sources, patients = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    for number, sha256, patient in table.execute("SELECT number, sha256, patient FROM rows"):
        sources[number] = hash64(sha256) if sha256 else 0
        patients[number] = hash64(patient) if patient else 0
    usable = np.ones(count, bool)
    usable[list(seen.problems)] = False
    files, pixels = seen.files * usable, seen.pixels * usable
    sources, patients = sources * usable, patients * usable
    pairs = _near_pairs(seen, usable)

    same = joined(count, keys=[files, pixels])
    member = joined(count, keys=[files, pixels, sources], pairs=pairs)
    side = joined(count, keys=[files, pixels, sources, patients], pairs=pairs)
    rows = zip(side.tolist(), member.tolist(), same.tolist(), range(count), strict=True)
    table.execute("BEGIN")
    table.executemany("UPDATE rows SET side = ?, member = ?, same = ? WHERE number = ?", rows)
    for name in ("side", "member", "same"):
        table.execute(f"CREATE INDEX by_{name} ON rows ({name})")
    table.execute("COMMIT")
    told.links["same file"] = _surplus(files)
    told.links["same pixels"] = _surplus(pixels)
    told.links["same source file"] = _surplus(sources)
    told.links["near"] = int((same[pairs[:, 0]] != same[pairs[:, 1]]).sum())


def _surplus(values: np.ndarray) -> int:
    """Count the rows beyond the first of each key."""
    named = values[values != 0]
    return len(named) - len(np.unique(named))


def _near_pairs(seen: _Seen, usable: np.ndarray) -> np.ndarray:
    """Return the pairs [p, 2] of pictures that show the same photograph."""
    pairs = candidates(seen.waves)
    pairs = pairs[usable[pairs].all(axis=1)]
    kept = [np.empty((0, 2), np.int64)]
    for part in shown(np.array_split(pairs, len(pairs) // 256 + 1), "comparing"):
        kept.append(part[alike(seen.fine, part) >= SAME_PHOTOGRAPH])
    return np.concatenate(kept)


def _judge_conflicts(table: sqlite3.Connection, label: str, reason: str) -> None:
    """Put every member of a group whose labels differ into quarantine: nobody knows who errs."""
    table.execute(
        f"UPDATE rows SET reason = ? WHERE reason = '' AND {label} != '' AND member IN"  # noqa: S608
        f" (SELECT member FROM rows WHERE reason = '' AND {label} != ''"
        f" GROUP BY member HAVING count(DISTINCT {label}) > 1)",
        (reason,),
    )


def _judge_sides(table: sqlite3.Connection, told: Cleaned) -> None:
    """Keep what shares a patient or a group in the split that is guarded most."""
    torn = table.execute(
        "SELECT side FROM rows WHERE reason = '' AND split != ''"
        " GROUP BY side HAVING count(DISTINCT split) > 1"
    ).fetchall()
    for (side,) in torn:
        rows = table.execute(
            "SELECT image, split FROM rows WHERE side = ? AND reason = '' AND split != ''", (side,)
        ).fetchall()
        told.across.append(tuple(cell for row in rows for cell in row))
        keeper = max((row["split"] for row in rows), key=_guard)
        table.execute(
            "UPDATE rows SET reason = 'in_two_splits'"
            " WHERE side = ? AND reason = '' AND split NOT IN ('', ?)",
            (side, keeper),
        )


def _guard(split: str) -> tuple[int, str]:
    return (GUARDED.index(split) if split in GUARDED else 0, split)


def _judge_exact(table: sqlite3.Connection) -> None:
    """Of equal pictures keep the one with a split and the most labels."""
    table.execute(
        "UPDATE rows SET reason = 'duplicate' WHERE number IN (SELECT number FROM ("
        " SELECT number, row_number() OVER (PARTITION BY same ORDER BY split = '',"
        " (grade = '') + (gradable = '') + (eyeq = ''), number) AS place"
        " FROM rows WHERE reason = '') WHERE place > 1)"
    )


def _collect(table: sqlite3.Connection, told: Cleaned) -> None:
    names: dict[int, str] = {}
    for image, member in table.execute(
        "SELECT image, member FROM rows WHERE member IN"
        " (SELECT member FROM rows GROUP BY member HAVING count(*) > 1) ORDER BY image"
    ):
        name = names.setdefault(member, f"{hash64(image):016x}")
        told.members.append({"image": image, "group": name})
    told.groups = len(names)
    for row in table.execute("SELECT * FROM rows WHERE reason != '' ORDER BY number"):
        beside = table.execute(
            "SELECT image FROM rows WHERE member = ? AND number != ?"
            " ORDER BY same != ?, reason != '', number",
            (row["member"], row["number"], row["same"]),
        ).fetchone()
        told.reasons[row["reason"]] += 1
        told.quarantine.append(
            {
                "image": row["image"],
                "reason": row["reason"],
                "group": names.get(row["member"], ""),
                "beside": beside["image"] if beside else "",
                "what_to_do": WHAT_TO_DO[row["reason"]],
            }
        )


def _write(folder: Path, told: Cleaned) -> None:
    """Write both tables; what a person decided about a picture and a reason stays."""
    decided = {
        (row["image"], row["reason"]): row.get("decision", "")
        for row in read_sidecar(folder, QUARANTINE)
    }
    for row in told.quarantine:
        row["decision"] = decided.get((row["image"], row["reason"]), "")
    with replaced(folder / GROUPS) as file:
        write_table(file, ("image", "group"), told.members)
    with replaced(folder / QUARANTINE) as file:
        write_table(file, QUARANTINE_COLUMNS, told.quarantine)
