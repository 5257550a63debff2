"""The cache of bands: every picture is decoded once, and an epoch reads no JPEG.

Bands go straight into one memory-mapped array, so the set may be larger than the memory. The cache
is named after what it was made of, and never goes stale: where the table gives no hash of a
picture, the file's or shard's own size and date stand in for it.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from inference.engine.decode import decode_photo
from inference.engine.errors import UnreadableImage
from inference.engine.schemas import Preprocessing
from inference.engine.transforms import photo_to_band
from training.engine.errors import DataInvalid
from training.engine.labels import Eye
from training.engine.pictures import in_threads, read_pictures
from training.engine.progress import shown


def load_bands(eyes: Sequence[Eye], *, data: Path, cache: Path, spec: Preprocessing) -> np.ndarray:
    """Return the eyes' bands [n, h, w, 3] uint8, memory-mapped; decode them at the first call.

    Raises DataInvalid when a picture is missing or broken; then nothing stays in the cache.
    """
    path = cache / f"bands-{_cache_key(eyes, data, spec)}.npy"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        # Two runs may fill the same cache: each writes its own file, and the last one stays.
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            _decode_bands(partial, eyes, data, spec)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def _cache_key(eyes: Sequence[Eye], data: Path, spec: Preprocessing) -> str:
    names = [(eye.image, eye.sha256 or _stamp(data / (eye.shard or eye.image))) for eye in eyes]
    return hashlib.sha256(json.dumps([asdict(spec), names]).encode()).hexdigest()[:16]


def _stamp(path: Path) -> str:
    """Tell a file from others of its name; empty when it is missing."""
    try:
        told = path.stat()
    except OSError:
        return ""
    return f"{path.resolve()} {told.st_size} {told.st_mtime_ns}"


def _decode_bands(path: Path, eyes: Sequence[Eye], data: Path, spec: Preprocessing) -> None:
    width, height = spec.size_px
    bands = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=(len(eyes), height, width, 3)
    )
    places = {eye.image: place for place, eye in enumerate(eyes)}
    pictures = read_pictures(data, {eye.shard for eye in eyes}, set(places))

    def band(name: str, content: bytes) -> np.ndarray:
        try:
            return photo_to_band(decode_photo(content), spec)
        except UnreadableImage as error:
            raise DataInvalid(
                f"{name}: {error.problem}", "Let clean_dataset put it into quarantine."
            ) from error

    found = 0
    for name, made in shown(in_threads(band, pictures), "decoding", total=len(eyes)):
        bands[places[name]] = made
        found += 1
    bands.flush()
    if found != len(eyes):
        raise DataInvalid(
            f"{len(eyes) - found} of {len(eyes)} pictures are neither in their shards nor files.",
            "Copy the data folder again.",
        )
