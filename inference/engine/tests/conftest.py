import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from inference.engine.grader import Grader, load_grader
from inference.engine.synthetic import draw_fundus
from inference.engine.testing import make_tiny_artefact

torch.set_num_threads(1)


def encoded(photo: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    photo.save(file, form, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    return encoded


@pytest.fixture(scope="session")
def artefact_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_artefact(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def grader(artefact_directory: Path) -> Grader:
    return load_grader(artefact_directory, device="torch-cpu")


@pytest.fixture(scope="session")
def eye() -> Image.Image:
    return draw_fundus(7, grade=3, size_px=(640, 480))


@pytest.fixture(scope="session")
def eyes() -> list[Image.Image]:
    return [draw_fundus(seed, grade=seed % 5, size_px=(512, 512)) for seed in range(8)]
