"""The eyes a model learns from: a label table, shards of pictures, and a cache of bands.

A picture is decoded once: its band ([h, w, 3] uint8) goes to one memory-mapped array, so that
an epoch reads no JPEG. The cache is named after what it was made of and never goes stale.
"""

import csv
import hashlib
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from inference.engine.decode import decode_photo
from inference.engine.schemas import Preprocessing
from inference.engine.transforms import photo_to_band
from training.engine.errors import DataInvalid, SplitForbidden

LEARNING_SPLITS = frozenset({"train"})
TUNING_SPLITS = frozenset({"train", "val"})


@dataclass(frozen=True, kw_only=True)
class Eye:
    """One labelled picture. `gradable` and `grade` are None where nobody said."""

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

    @property
    def true_colour(self) -> bool:
        """Say whether the picture looks as a camera makes it, and as clinics upload it."""
        return self.variant.startswith("colour")

    @property
    def domain(self) -> str:
        """Name the camera group that bias is looked for in."""
        return f"{self.source} {self.camera or self.variant}"


def read_eyes(data: Path) -> list[Eye]:
    """Read labels.csv. Raises DataInvalid when it is missing or a patient stands in two splits."""
    table = data / "labels.csv"
    if not table.is_file():
        raise DataInvalid(f"{data.name}/labels.csv is missing.", "Give --data the right folder.")
    with table.open(newline="") as file:
        eyes = [_eye(row) for row in csv.DictReader(file) if row["modality"] == "fundus"]
    check_no_leak(eyes)
    return eyes


def _eye(row: dict[str, str]) -> Eye:
    return Eye(
        image=row["image"],
        shard=row["shard"],
        source=row["source"],
        variant=row["variant"],
        camera=row["camera"],
        split=row["split"],
        patient=row["patient"],
        sha256=row["sha256"],
        grade=int(row["grade"]) if row["grade"] else None,
        gradable=row["gradable"] == "1" if row["gradable"] else None,
        eye_quality=int(row["eyeq"]) if row["eyeq"] else None,
        maculopathy=row["maculopathy"] == "1" if row.get("maculopathy") else None,
    )


def check_no_leak(eyes: Iterable[Eye]) -> None:
    """Refuse a table in which one patient or one file stands in two splits."""
    for key in ("patient", "sha256"):
        seen: dict[str, str] = {}
        for eye in eyes:
            name = getattr(eye, key)
            if name and seen.setdefault(name, eye.split) != eye.split:
                raise DataInvalid(
                    f"The same {key} stands in {seen[name]!r} and {eye.split!r}.",
                    "Split by patient and file before training.",
                )


def eyes_to_learn_from(eyes: Sequence[Eye]) -> list[Eye]:
    """Keep the graded and gradable eyes of the training split."""
    return [eye for eye in graded(eyes, "train") if eye.split in LEARNING_SPLITS]


def graded(eyes: Sequence[Eye], split: str) -> list[Eye]:
    """Keep the eyes of a split that have a grade and that nobody called ungradable."""
    return [
        eye
        for eye in eyes
        if eye.split == split and eye.grade is not None and eye.gradable is not False
    ]


def check_tuning_split(split: str) -> None:
    """Refuse to fit anything on a split that is kept for checking. Raises SplitForbidden."""
    if split not in TUNING_SPLITS:
        raise SplitForbidden(
            f"The split {split!r} is kept for checking and never tuned on.", "Tune on val."
        )


def data_fingerprint(eyes: Sequence[Eye]) -> str:
    """Name exactly which pictures with which grades these are."""
    lines = sorted(f"{eye.image} {eye.sha256} {eye.grade} {eye.split}" for eye in eyes)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_bands(eyes: Sequence[Eye], *, data: Path, cache: Path, spec: Preprocessing) -> np.ndarray:
    """Return the eyes' bands [n, h, w, 3] uint8, memory-mapped; decode them at the first call."""
    path = cache / f"bands-{_cache_key(eyes, spec)}.npy"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, _decode_bands(eyes, data, spec))
        partial.replace(path)
    return np.load(path, mmap_mode="r")


def _cache_key(eyes: Sequence[Eye], spec: Preprocessing) -> str:
    names = json.dumps([asdict(spec), [(eye.image, eye.sha256) for eye in eyes]])
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def _decode_bands(eyes: Sequence[Eye], data: Path, spec: Preprocessing) -> np.ndarray:
    width, height = spec.size_px
    bands = np.zeros((len(eyes), height, width, 3), np.uint8)
    places = {eye.image: place for place, eye in enumerate(eyes)}
    found = 0
    for name, content in read_pictures(data, {eye.shard for eye in eyes}, set(places)):
        bands[places[name]] = photo_to_band(decode_photo(content), spec)
        found += 1
    if found != len(eyes):
        raise DataInvalid(
            f"{len(eyes) - found} of {len(eyes)} pictures are not in their shards.",
            "Copy the data folder again.",
        )
    return bands


def read_pictures(
    data: Path, shards: Iterable[str], wanted: set[str]
) -> Iterable[tuple[str, bytes]]:
    """Yield (name, bytes) of the wanted pictures, shard by shard."""
    for shard in sorted(shards):
        if not (data / shard).is_file():
            raise DataInvalid(f"The shard {shard} is missing.", "Copy the data folder again.")
        with tarfile.open(data / shard) as archive:
            for member in archive:
                if member.name in wanted and (file := archive.extractfile(member)):
                    yield member.name, file.read()
