"""Grade every photograph below a folder into a CSV file that survives a kill at any line.

Rows are written in whole chunks and synced, so what is in the file is true. A run that goes on
drops what comes after the last whole chunk and grades that again: the batches are the same ones
then, and so is every byte.
"""

import csv
import fcntl
import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from inference.engine.errors import EngineError
from inference.engine.grader import BATCH_SIZE, Grader, Prepared
from inference.engine.schemas import GRADES, Grading

COLUMNS = (
    "file",
    "status",
    "error",
    "gradable_probability",
    "quality",
    "grade",
    *(f"probability_{grade}" for grade in range(len(GRADES))),
    "referable_probability",
    "vision_threatening_probability",
    "model_version",
)
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp"})
MAX_BYTES = 500_000_000
CHUNKS_AHEAD = 2  # prepared while one is graded; more would only hold memory
FORMULA_STARTS = tuple("=+-@＝＋－＠")  # noqa: RUF001 -- what a spreadsheet would compute


class FolderRefused(EngineError):
    """The folder or the CSV file can't be used as asked."""

    code = "folder_refused"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a folder holds: photographs in order, folders that can't be read, and the rest."""

    names: tuple[str, ...]  # relative to the folder, with forward slashes
    unreadable: frozenset[str]  # of these, the folders that did not open
    ignored: int  # files that are no photographs by their names
    links: int  # links to other folders: not followed


@dataclass(kw_only=True)
class Summary:
    """How many photographs came out how."""

    graded: int = 0
    rejected: int = 0
    failed: int = 0


def list_folder(folder: Path, *, out: Path) -> Listing:
    """List a folder and what is below it. Raises FolderRefused when it is none or holds nothing."""
    if not folder.is_dir():
        raise FolderRefused(f"{folder} is not a folder.", "Give the folder of the photographs.")
    names, unreadable, ignored, links = [], [], 0, 0
    closed: list[OSError] = []
    own = out.resolve()
    for place, folders, files in os.walk(folder, onerror=closed.append):
        here = Path(place)
        links += sum((here / name).is_symlink() for name in folders)
        for name in files:
            if _is_photograph(name) and (here / name).resolve() != own:
                names.append((here / name).relative_to(folder).as_posix())
            else:
                ignored += 1
    for error in closed:
        unreadable.append(Path(error.filename).relative_to(folder).as_posix() + "/")
    if not names and not unreadable:
        raise FolderRefused(
            f"There is no photograph in {folder}.",
            f"Photographs are files that end in {', '.join(sorted(SUFFIXES))}.",
        )
    return Listing(
        names=tuple(sorted([*names, *unreadable])),
        unreadable=frozenset(unreadable),
        ignored=ignored,
        links=links,
    )


def _is_photograph(name: str) -> bool:
    # Names that begin with a dot are what systems leave behind, such as ._eye.jpg.
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


class FolderRun:
    """One CSV file on its way to being whole.

    While it is not, a small file beside it says of which folder and model it is.
    """

    def __init__(self, folder: Path, out: Path, grader: Grader, *, threads: int = 2) -> None:
        self.folder, self.out = folder, out
        self.listing = list_folder(folder, out=out)
        self._grader = grader
        self._threads = threads
        self._note = out.with_name(f".{out.name}.unfinished")
        self._size_bytes = 0  # of the file as `start` left it

    def start(self, *, resume: bool = False, restart: bool = False) -> int:
        """Make the file ready. Returns how many rows it holds that stay. Raises FolderRefused."""
        if restart or self._is_unwritten(resume=resume):
            self._begin()
            return 0
        if not resume:
            raise FolderRefused(
                f"{self.out.name} is there already.",
                "Go on with it by --resume, or write it anew by --restart.",
            )
        return self._resume()

    def _is_unwritten(self, *, resume: bool) -> bool:
        """Say whether there is no file, or one that was stopped within its first line."""
        if not self.out.exists() or self.out.stat().st_size == 0:
            return True
        header = _as_csv([COLUMNS])
        if not resume or not self._note.exists() or self.out.stat().st_size >= len(header):
            return False
        return header.startswith(self.out.read_bytes())

    def rows(self, done: int) -> Iterator[Summary]:
        """Grade what is left, chunk by chunk; yields what each chunk came to, once it is on disk.

        Pre-state: `start` returned `done`. Post-state: the file is whole. Raises FolderRefused
        when another run wrote to the file since then.
        """
        with self.out.open("ab") as file:
            _lock(file)
            if os.fstat(file.fileno()).st_size != self._size_bytes:
                raise FolderRefused(
                    f"Another run wrote to {self.out.name} just now.", "Go on with it by --resume."
                )
            for names, prepared in self._prepared(self.listing.names[done:]):
                graded = self._grade(prepared)
                pairs = list(zip(names, graded, strict=True))
                file.write(_as_csv(self._row(name, each) for name, each in pairs))
                file.flush()
                os.fsync(file.fileno())
                yield _sum_up(graded)
        self._note.unlink(missing_ok=True)

    def _begin(self) -> None:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with self.out.open("ab") as file:
            _lock(file)
            file.truncate(0)  # before the note, or a kill would leave it beside other rows
            self._note.write_text(json.dumps(self._identity(), indent=2) + "\n")
            self._size_bytes = file.write(_as_csv([COLUMNS]))
            file.flush()
            os.fsync(file.fileno())

    def _resume(self) -> int:
        with self.out.open("r+b") as file:
            _lock(file)
            whole = file.read()
            lines = whole.split(b"\n")[:-1]  # what follows the last line's end was torn
            self._check_identity(lines)
            kept = len(lines) - 1
            if self._note.exists() and kept < len(self.listing.names):
                kept -= kept % BATCH_SIZE
            self._size_bytes = file.truncate(sum(len(line) + 1 for line in lines[: kept + 1]))
        return kept

    def _check_identity(self, lines: Sequence[bytes]) -> None:
        if not lines or lines[0] + b"\n" != _as_csv([COLUMNS]):
            raise FolderRefused(
                f"{self.out.name} is not a list that this command wrote.",
                "Write to another file, or replace it by --restart.",
            )
        told = self._identity()
        try:
            known = json.loads(self._note.read_text()) if self._note.exists() else None
        except ValueError:
            known = {}
        if known is not None:
            wrong = [name for name in told if known.get(name) != told[name]]
            if wrong:
                raise FolderRefused(
                    f"{self.out.name} was begun with another {wrong[0]}.",
                    "Go on with the same one, or write the file anew by --restart.",
                )
        rows = list(csv.reader(line.decode() for line in lines[1:]))
        expected = [_shown(name) for name in self.listing.names]
        same_model = all(row[-1] == self._grader.version for row in rows)
        whole = known is not None or len(rows) == len(expected)
        if [row[0] for row in rows] != expected[: len(rows)] or not same_model or not whole:
            raise FolderRefused(
                f"{self.out.name} holds other photographs than {self.folder} does now, or another "
                "model's grades.",
                "Write the file anew by --restart.",
            )

    def _identity(self) -> dict[str, str]:
        names = "\n".join(_shown(name) for name in self.listing.names)
        return {
            "folder": str(self.folder.resolve()),
            "list of photographs": hashlib.sha256(names.encode()).hexdigest(),
            "model": f"{self._grader.version} {self._grader.sha256}",
            "engine": self._grader.backend,
        }

    def _prepared(
        self, names: Sequence[str]
    ) -> Iterator[tuple[Sequence[str], list[Prepared | str]]]:
        """Prepare photographs in threads, a few chunks ahead of who takes them."""
        waiting: deque[tuple[Sequence[str], list[Future]]] = deque()
        with ThreadPoolExecutor(self._threads) as threads:
            try:
                for start in range(0, len(names), BATCH_SIZE):
                    chunk = names[start : start + BATCH_SIZE]
                    waiting.append((chunk, [threads.submit(self._prepare, name) for name in chunk]))
                    if len(waiting) > CHUNKS_AHEAD:
                        yield _awaited(*waiting.popleft())
                while waiting:
                    yield _awaited(*waiting.popleft())
            finally:
                threads.shutdown(cancel_futures=True)

    def _prepare(self, name: str) -> Prepared | str:
        """Prepare one photograph, or say what is wrong with it; nothing it does stops the rest."""
        if name in self.listing.unreadable:
            return "The folder can't be opened, so nothing in it was graded."
        path = self.folder / name
        try:
            if not path.is_file():
                return "This is not a file, or a link to one that is gone."
            if path.stat().st_size > MAX_BYTES:
                return f"The file is larger than {MAX_BYTES // 1_000_000} MB."
            return self._grader.prepare(path.read_bytes())
        except EngineError as error:
            return error.problem
        except OSError as error:
            return f"The file can't be read ({error.strerror or type(error).__name__})."
        except Exception as error:
            return f"The photograph can't be prepared ({type(error).__name__})."

    def _grade(self, prepared: Sequence[Prepared | str]) -> list[Grading | str]:
        good = [each for each in prepared if not isinstance(each, str)]
        gradings = iter(self._grader.grade(good, heatmaps=False))
        return [each if isinstance(each, str) else next(gradings) for each in prepared]

    def _row(self, name: str, graded: Grading | str) -> Sequence[object]:
        if isinstance(graded, str):
            nothing = [""] * (len(COLUMNS) - 4)
            return [_shown(name), "failed", graded, *nothing, self._grader.version]
        if graded.grade is None or graded.probabilities is None:
            reasons = ", ".join(graded.quality_reasons)
            status, error = "rejected", f"Not gradable: {reasons}."
            figures: list[object] = [""] * 8
        else:
            status, error = "graded", ""
            shares = (
                *graded.probabilities,
                graded.referable_probability,
                graded.vision_threatening_probability,
            )
            figures = [graded.grade, *(f"{share:.6f}" for share in shares)]
        gradable = f"{graded.gradable_probability:.6f}"
        return [
            *(_shown(name), status, error, gradable, graded.quality),
            *(*figures, graded.model_version),
        ]


def _awaited(
    names: Sequence[str], futures: Sequence[Future]
) -> tuple[Sequence[str], list[Prepared | str]]:
    return names, [future.result() for future in futures]


def _sum_up(graded: Sequence[Grading | str]) -> Summary:
    failed = sum(isinstance(each, str) for each in graded)
    rejected = sum(not isinstance(each, str) and each.grade is None for each in graded)
    return Summary(graded=len(graded) - failed - rejected, rejected=rejected, failed=failed)


def _shown(name: str) -> str:
    """Write a name in one line that no spreadsheet computes; `./=1.jpg` is the same file."""
    plain = name.encode("utf-8", "backslashreplace").decode()
    line = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in plain)
    return f"./{line}" if line.startswith(FORMULA_STARTS) else line


def _as_csv(rows: Iterator[Sequence[object]] | Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _lock(file: BinaryIO) -> None:
    """Keep a second run away from the same file. Raises FolderRefused."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise FolderRefused(
            "Another run writes to this file.", "Wait for it, or write to another file."
        ) from error
