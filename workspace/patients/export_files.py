"""Files of an export: readable by their owner alone, whole or not there, and looked at again."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
PIECE_BYTES = 1 << 20


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only once it is whole. Raises FileExistsError."""
    if path.exists():
        raise FileExistsError(f"{path} is there already; it was left as it is.")
    partial = path.with_name(f"{path.name}.partial")
    try:
        with open(partial, "wb", opener=_private) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def written(path: Path, pieces: Iterable[bytes]) -> dict:
    """Write a file in one go and return its hash and size."""
    digest, size_bytes = hashlib.sha256(), 0
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    with open(path, "wb", opener=_private) as file:
        for piece in pieces:
            digest.update(piece)
            size_bytes += file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": digest.hexdigest(), "size_bytes": size_bytes}


def facts_on_disk(path: Path) -> dict | None:
    """Return hash and size of a file as it lies there, or None."""
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "size_bytes": path.stat().st_size}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)
