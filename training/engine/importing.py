"""Bring labelled pictures from elsewhere into this project's format. Nothing is overwritten.

Three kinds of sources are known: a folder per grade, a table with a picture's name and its grade
(APTOS, EyePACS), and another data folder. Rows that can't be used go to refused.csv with the
reason. Rows are streamed; what has to be looked up lies in a temporary SQLite file.
"""

import csv
import hashlib
import io
import json
import re
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from inference.engine.decode import displayed_size
from inference.engine.errors import EngineError
from training.engine.errors import DataInvalid
from training.engine.labels import (
    COLUMNS,
    LABELS,
    open_table,
    parse_grade,
    quarantined,
    read_rows,
    replaced,
    row_problem,
    write_table,
)
from training.engine.pictures import open_shard, read_member
from training.engine.progress import shown

REFUSED = "refused.csv"
UNFINISHED = ".unfinished"
PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})
NAME_COLUMNS = ("id_code", "image", "image_id", "filename")
GRADE_COLUMNS = ("diagnosis", "level", "grade")
PATIENT_COLUMNS = ("patient", "patient_id")
SIDE = re.compile(r"^(?P<patient>.+)[_-](?P<side>left|right|od|os|l|r)$", re.IGNORECASE)
LEFT = frozenset({"left", "os", "l"})


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """What to import under which name, and how the pictures are kept."""

    source: Path
    name: str  # becomes the folder of the pictures and, where rows name none, their source
    images: Path | None = None  # of a table: where its pictures lie; default: beside it
    shard_mb: int = 0  # size of the tar shards; 0: single files
    with_splits: bool = True  # take over the splits of another data folder


@dataclass(frozen=True, kw_only=True)
class Found:
    """A row that may come in, and how to read its picture; or why it may not."""

    where: str
    row: dict[str, str] = field(default_factory=dict)
    read: Callable[[], bytes] = bytes
    own: bool = False  # a row of this project's own table: what is empty there stays empty
    problem: str = ""


@dataclass(kw_only=True)
class Imported:
    """How many rows came in, and how many were refused."""

    rows: int = 0
    refused: int = 0


def import_dataset(plan: ImportPlan, out: Path) -> Imported:
    """Copy pictures and labels into the data folder `out`, new or not.

    Post-state: `out`/labels.csv holds the new rows after the old ones, the pictures lie below
    `out`/<name>. Stopped before the end, the table is as it was, and the same call starts again.
    Raises DataInvalid when the source is of no known kind, the name is taken, or nothing came in.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", plan.name):
        raise DataInvalid(
            f"{plan.name!r} is no name.", "Give --name small letters, digits and dashes."
        )
    found = _source_of(plan)
    folder = out / plan.name
    _claim(folder, out)
    told = Imported()
    with (
        tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as kept,
        _refusals(folder) as refuse,
    ):
        with _store(folder, plan) as store:
            rows = _import_rows(found, plan, store, refuse, told)
            write_table(kept, COLUMNS, shown(rows, "importing"))
        if told.rows:
            kept.seek(0)
            _append(out, csv.DictReader(kept))
    (folder / UNFINISHED).unlink()
    if not told.rows:
        raise DataInvalid(
            f"None of {told.refused} rows came in.",
            f"{REFUSED} in {folder} says why; mend the source and remove that folder.",
        )
    return told


def _source_of(plan: ImportPlan) -> Iterable[Found]:
    source = plan.source
    if source.is_file():
        return _from_table(source, plan)
    if not source.is_dir():
        raise DataInvalid(f"{source} is not there.", "Name a folder or a table.")
    if (source / LABELS).is_file() and set(COLUMNS) <= set(_header(source / LABELS)):
        return _from_data_folder(source, plan)
    if any(_class_folders(source)):
        return _from_class_folders(source, plan)
    tables = sorted(source.glob("*.csv"))
    if len(tables) == 1:
        return _from_table(tables[0], plan)
    raise DataInvalid(
        f"{source} has no folders named after grades, and {len(tables)} tables.",
        f"Name the folders No_DR to Proliferate_DR or 0 to 4, or name one table with "
        f"{' or '.join(NAME_COLUMNS)} and {' or '.join(GRADE_COLUMNS)}.",
    )


def _claim(folder: Path, out: Path) -> None:
    """Make the batch's folder; clear it when an import that was stopped left it."""
    if folder.exists():
        left_over = (folder / UNFINISHED).is_file() and not _has_rows_of(folder.name, out)
        if not left_over:
            raise DataInvalid(
                f"{folder} exists, and nothing is overwritten.",
                "Give this import another name with --name.",
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / UNFINISHED).touch()


def _has_rows_of(name: str, out: Path) -> bool:
    if not (out / LABELS).is_file():
        return False
    return any(row["image"].startswith(f"{name}/") for row in read_rows(out))


@contextmanager
def _refusals(folder: Path) -> Iterator[Callable[[Found, str], None]]:
    """Open refused.csv at the first refusal."""
    path = folder / REFUSED
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["where", "reason"])
        yield lambda found, reason: table.writerow([found.where, reason])
        empty = file.tell() <= len("where,reason\n")
    if empty:
        path.unlink()


def _import_rows(
    found: Iterable[Found],
    plan: ImportPlan,
    store: Callable[[str, bytes], str],
    refuse: Callable[[Found, str], None],
    told: Imported,
) -> Iterator[dict[str, str]]:
    for one in found:
        row, problem = one.row, one.problem
        if not problem:
            try:
                content = one.read()
                row = row if one.own else {**row, **_measured(content)}
                problem = row_problem(row)
            except EngineError as error:
                problem = error.problem
            except OSError as error:
                problem = f"The file can't be read ({error.strerror})."
        if problem:
            refuse(one, problem)
            told.refused += 1
            continue
        row["shard"] = store(row["image"], content)
        told.rows += 1
        yield row


def _measured(content: bytes) -> dict[str, str]:
    """Say what the file itself tells: its hash, and the shape of the frame, which tells cameras
    apart. Raises UnreadableImage."""
    width, height = displayed_size(content)
    return {"sha256": hashlib.sha256(content).hexdigest(), "camera": f"{width / height:.2f}"}


@contextmanager
def _store(folder: Path, plan: ImportPlan) -> Iterator[Callable[[str, bytes], str]]:
    """Yield a function that keeps a picture under its name and returns its shard."""
    if not plan.shard_mb:
        yield lambda name, content: _keep_file(folder.parent / name, content)
        return
    writer = _ShardWriter(folder, plan.shard_mb * 2**20)
    try:
        yield writer.keep
    finally:
        writer.close()


def _keep_file(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
    return ""


class _ShardWriter:
    """Writes pictures into tar files of a limited size."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self.count, self.size_bytes = 0, 0
        self.archive: tarfile.TarFile | None = None

    def keep(self, name: str, content: bytes) -> str:
        if self.archive is None or self.size_bytes + len(content) > self.limit_bytes:
            self.close()
            self.count, self.size_bytes = self.count + 1, 0
            self.archive = tarfile.open(self._path, "x")  # noqa: SIM115 -- closed by `close`
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self.archive.addfile(member, io.BytesIO(content))
        self.size_bytes += len(content)
        return f"{self.folder.name}/{self._path.name}"

    @property
    def _path(self) -> Path:
        return self.folder / f"pictures-{self.count:05}.tar"

    def close(self) -> None:
        if self.archive is not None:
            self.archive.close()
            self.archive = None


def _append(out: Path, rows: Iterable[dict[str, str]]) -> None:
    """Write the rows after the old ones, which keep columns of their own."""
    table = out / LABELS
    old, columns = (read_rows(out), _header(table)) if table.is_file() else (iter(()), COLUMNS)
    with replaced(table) as file:
        write_table(file, columns, chain(old, rows))


def _row(plan: ImportPlan, name: str, grade: int, patient: str = "") -> dict[str, str]:
    """Make a row of a picture's name; `10_left` names the patient and the eye."""
    stem = Path(name).stem
    sided = SIDE.match(stem)
    side = "" if not sided else "left" if sided["side"].lower() in LEFT else "right"
    return {
        **dict.fromkeys(COLUMNS, ""),
        "image": f"{plan.name}/{name}",
        "modality": "fundus",
        "variant": "colour",
        "source": plan.name,
        "grade": str(grade),
        "patient": f"{plan.name}:{patient or (sided['patient'] if sided else stem)}",
        "eye": side,
    }


def _class_folders(source: Path) -> Iterator[tuple[Path, int]]:
    for folder in sorted(source.iterdir()):
        if folder.is_dir() and (grade := parse_grade(folder.name)) is not None:
            yield folder, grade


def _from_class_folders(source: Path, plan: ImportPlan) -> Iterator[Found]:
    known = dict(_class_folders(source))
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        if folder not in known:
            where = f"folder {_as_text(Path(folder.name))}"
            yield Found(where=where, problem="it is named after no grade")
    for folder, grade in known.items():
        for path in _pictures_below(folder):
            name = _as_text(path.relative_to(source))
            if name != path.relative_to(source).as_posix():
                yield Found(where=name, problem="the file's name is not in UTF-8")
                continue
            row = _row(plan, name, grade)
            yield Found(where=name, row=row, read=path.read_bytes)


def _pictures_below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix.lower() in PICTURE_ENDINGS and path.is_file():
            yield path


def _as_text(path: Path) -> str:
    """Return a path as it can be written; bytes that are no UTF-8 show as question marks."""
    return path.as_posix().encode(errors="replace").decode()


def _header(path: Path) -> list[str]:
    with open_table(path) as table:
        return list(table.fieldnames or ())


def _from_table(path: Path, plan: ImportPlan) -> Iterator[Found]:
    header = _header(path)
    name_column = _first_of(NAME_COLUMNS, header, path)
    grade_column = _first_of(GRADE_COLUMNS, header, path)
    patient_column = next((name for name in PATIENT_COLUMNS if name in header), None)
    images = plan.images or path.parent
    with _index() as index:
        _index_pictures(index, images)
        _index_table(index, path, name_column, grade_column)
        with open_table(path) as table:
            for row in table:
                patient = (row[patient_column] or "").strip() if patient_column else ""
                yield _found_in_table(
                    index,
                    plan,
                    f"line {table.line_num}",
                    images,
                    (row[name_column] or "").strip(),
                    row[grade_column] or "",
                    patient,
                )


def _found_in_table(
    index: sqlite3.Connection,
    plan: ImportPlan,
    where: str,
    images: Path,
    name: str,
    grade: str,
    patient: str,
) -> Found:
    where = f"{where}: {name}"
    if not name:
        return Found(where=where, problem="no picture is named")
    if (known := parse_grade(grade)) is None:
        return Found(where=where, problem=f"{grade!r} is no grade from 0 to 4")
    stem = _stem(name)
    grades, used = index.execute(
        "SELECT count(DISTINCT grade), max(used) FROM listed WHERE stem = ?", (stem,)
    ).fetchone()
    if grades > 1:
        return Found(where=where, problem="it is listed with different grades")
    if used:
        return Found(where=where, problem="it is listed before")
    index.execute("UPDATE listed SET used = 1 WHERE stem = ?", (stem,))
    paths = index.execute("SELECT path FROM pictures WHERE stem = ?", (stem,)).fetchmany(2)
    if len(paths) != 1:
        return Found(where=where, problem="several files" if paths else "no file has that name")
    path = paths[0][0]
    row = _row(plan, path, known, patient)
    return Found(where=where, row=row, read=(images / path).read_bytes)


def _first_of(names: tuple[str, ...], header: list[str], path: Path) -> str:
    for name in names:
        if name in header:
            return name
    raise DataInvalid(
        f"{path.name} has none of the columns {', '.join(names)}.",
        "Rename its columns, and put commas between them.",
    )


def _stem(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in PICTURE_ENDINGS else path.name


@contextmanager
def _index() -> Iterator[sqlite3.Connection]:
    """Open a database on disk that goes with the connection."""
    with closing(sqlite3.connect("", isolation_level=None)) as index:
        index.execute("PRAGMA synchronous = OFF")
        index.execute("PRAGMA journal_mode = OFF")
        index.execute("CREATE TABLE pictures (stem TEXT, path TEXT)")
        index.execute("CREATE TABLE listed (stem TEXT, grade TEXT, used INTEGER DEFAULT 0)")
        index.execute("CREATE TABLE rows (shard TEXT, image TEXT, line INTEGER, cells TEXT)")
        yield index


def _index_pictures(index: sqlite3.Connection, images: Path) -> None:
    paths = (
        (_stem(path.name), path.relative_to(images).as_posix())
        for path in shown(_pictures_below(images), "looking for pictures")
        if _as_text(path) == path.as_posix()
    )
    index.executemany("INSERT INTO pictures VALUES (?, ?)", paths)
    index.execute("CREATE INDEX by_stem ON pictures (stem)")


def _index_table(
    index: sqlite3.Connection, path: Path, name_column: str, grade_column: str
) -> None:
    with open_table(path) as table:
        rows = (
            (_stem((row[name_column] or "").strip()), str(parse_grade(row[grade_column] or "")))
            for row in table
        )
        index.executemany("INSERT INTO listed (stem, grade) VALUES (?, ?)", rows)
    index.execute("CREATE INDEX by_listed_stem ON listed (stem)")


def _from_data_folder(source: Path, plan: ImportPlan) -> Iterator[Found]:
    """Take rows over as they are, in the order in which their pictures lie on disk."""
    with _index() as index:
        left_out = quarantined(source)
        for line, row in enumerate(read_rows(source), start=2):
            where = f"row {line}: {row['image']}"
            if problem := row_problem(row):
                yield Found(where=where, problem=problem)
            elif row["image"] in left_out:
                yield Found(where=where, problem="it is in quarantine")
            else:
                cells = json.dumps([row[name] for name in COLUMNS])
                index.execute(
                    "INSERT INTO rows VALUES (?, ?, ?, ?)",
                    (row["shard"], row["image"], line, cells),
                )
        index.execute("CREATE INDEX by_image ON rows (shard, image)")
        shards = [shard for (shard,) in index.execute("SELECT DISTINCT shard FROM rows ORDER BY 1")]
        for shard in shards:
            pictures = _shard(index, source, shard) if shard else _files(index, source)
            yield from (_taken_over(plan, *picture) for picture in pictures)
        for line, image in index.execute("SELECT line, image FROM rows ORDER BY line"):
            yield Found(where=f"row {line}: {image}", problem="its picture is not there")


def _shard(
    index: sqlite3.Connection, source: Path, shard: str
) -> Iterator[tuple[int, str, Callable[[], bytes]]]:
    """Yield what the table says of each picture in a shard, and take it off the index."""
    if not (source / shard).is_file():
        return
    with open_shard(source, shard) as archive:
        for member in archive:
            if not _is_listed(index, shard, member.name):
                continue
            if (content := read_member(archive, member)) is not None:
                for line, cells in _take(index, shard, member.name):
                    yield line, cells, partial(bytes, content)


def _files(
    index: sqlite3.Connection, source: Path
) -> Iterator[tuple[int, str, Callable[[], bytes]]]:
    for (image,) in index.execute("SELECT DISTINCT image FROM rows WHERE shard = ''").fetchall():
        if (source / image).is_file():
            for line, cells in _take(index, "", image):
                yield line, cells, (source / image).read_bytes


def _is_listed(index: sqlite3.Connection, shard: str, image: str) -> bool:
    query = "SELECT 1 FROM rows WHERE shard = ? AND image = ? LIMIT 1"
    return index.execute(query, (shard, image)).fetchone() is not None


def _take(index: sqlite3.Connection, shard: str, image: str) -> list[tuple[int, str]]:
    """Take the first row of a picture off the index; a second row of it is left, and refused."""
    key = (shard, image)
    rows = index.execute(
        "SELECT line, cells FROM rows WHERE shard = ? AND image = ? ORDER BY line LIMIT 1", key
    ).fetchall()
    for line, _cells in rows:
        index.execute("DELETE FROM rows WHERE shard = ? AND image = ? AND line = ?", (*key, line))
    return rows


def _taken_over(plan: ImportPlan, line: int, cells: str, read: Callable[[], bytes]) -> Found:
    row = dict(zip(COLUMNS, json.loads(cells), strict=True))
    where = f"row {line}: {row['image']}"
    row["image"] = f"{plan.name}/{row['image']}"
    if not plan.with_splits:
        row["split"] = ""
    return Found(where=where, row=row, read=read, own=True)
