"""Small data folders of drawn eyes, for tests."""

import csv
import hashlib
import io
from functools import lru_cache
from pathlib import Path

from PIL import Image

from inference.engine.synthetic import draw_fundus
from training.engine.labels import COLUMNS


@lru_cache(maxsize=64)
def drawn(seed: int, size: int = 160) -> Image.Image:
    """Draw an eye of which every seed gives another."""
    side = ("OD", "OS")[seed % 2]
    return draw_fundus(seed, grade=seed % 5, laterality=side, size_px=(size, size))


def jpeg(photo: Image.Image, quality: int = 92) -> bytes:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=quality)
    return file.getvalue()


def row_of(number: int, content: bytes = b"", **cells: str) -> dict[str, str]:
    """Make a table row; its picture is a loose file."""
    return {
        **dict.fromkeys(COLUMNS, ""),
        "image": f"eyes/{number}.jpg",
        "modality": "fundus",
        "variant": "colour",
        "source": "drawn",
        "grade": str(number % 5),
        "patient": f"p{number}",
        "sha256": hashlib.sha256(content).hexdigest() if content else "",
        **cells,
    }


def make_folder(folder: Path, pictures: list[tuple[dict[str, str], bytes]]) -> Path:
    """Write labels.csv and the loose pictures of its rows."""
    write_rows(folder, [row for row, _ in pictures])
    for row, content in pictures:
        path = folder / row["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_rows(folder: Path, rows: list[dict[str, str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    return folder
