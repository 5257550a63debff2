"""The pictures of a data folder, whether they lie in tar shards or as files."""

import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from training.engine.errors import DataInvalid
from training.engine.labels import is_inside

Result = TypeVar("Result")
AHEAD = 8  # pictures a thread that may wait: keeps every core busy and memory bounded


def read_pictures(
    data: Path, shards: Iterable[str], wanted: set[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of the wanted pictures, shard by shard, each once.

    The shard "" stands for files below `data`; those that are missing are left out, like
    pictures that are missing in a shard. Raises DataInvalid when a shard is missing.
    """
    wanted = set(wanted)
    for shard in sorted(shards):
        if not shard:
            yield from _loose_pictures(data, wanted)
            continue
        with open_shard(data, shard) as archive:
            for member in archive:
                content = read_member(archive, member) if member.name in wanted else None
                if content is not None:
                    wanted.discard(member.name)
                    yield member.name, content


def read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    """Return a file's bytes, also of a second name of a file; None for everything else."""
    if not (member.isfile() or member.islnk()):
        return None
    try:
        file = archive.extractfile(member)
    except KeyError:  # the second name of a file that is not in the shard
        return None
    return file.read() if file else None


@contextmanager
def open_shard(data: Path, shard: str) -> Iterator[tarfile.TarFile]:
    """Open a tar shard to read. Raises DataInvalid when it is missing or damaged."""
    if not is_inside(shard) or not (data / shard).is_file():
        raise DataInvalid(f"The shard {shard} is missing.", "Copy the data folder again.")
    try:
        with tarfile.open(data / shard) as archive:
            yield archive
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataInvalid(f"The shard {shard} is damaged.", "Copy it again.") from error


def _loose_pictures(data: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    for name in sorted(wanted):
        if is_inside(name) and os.path.isfile(data / name):  # noqa: PTH113 -- too long is missing
            wanted.discard(name)
            yield name, (data / name).read_bytes()


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def in_threads(
    work: Callable[[str, bytes], Result], pictures: Iterable[tuple[str, bytes]]
) -> Iterator[tuple[str, Result]]:
    """Yield (name, work(name, bytes)) in the pictures' order, worked on by every core.

    Decoding leaves the interpreter's lock alone. Few pictures are in memory at a time.
    """
    pictures = iter(pictures)
    with ThreadPoolExecutor(cores()) as pool:
        waiting: list[tuple[str, Future[Result]]] = []
        for name, content in pictures:
            waiting.append((name, pool.submit(work, name, content)))
            if len(waiting) >= AHEAD * cores():
                name, future = waiting.pop(0)
                yield name, future.result()
        for name, future in waiting:
            yield name, future.result()
