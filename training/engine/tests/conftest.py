import hashlib
import io
import tarfile
from pathlib import Path

import pytest
import torch
from torch.utils.data._utils import signal_handling

from inference.engine.schemas import Preprocessing
from inference.engine.synthetic import draw_fundus
from training.engine.labels import COLUMNS
from training.engine.recipe import Folders, Run, TrainingConfig
from training.engine.tests.drawn import write_rows

torch.set_num_threads(1)
# A data loader with workers would leave a handler for ended children behind in the process that
# runs all tests. It only tells sooner that a worker was killed.
signal_handling._SIGCHLD_handler_set = True

SMALL = Preprocessing(version="band-1-small", size_px=(64, 48))


def _row(number: int, content: bytes, shard: str) -> dict[str, str]:
    split = ("train", "train", "train", "val", "second_site")[number % 5]
    return {
        **dict.fromkeys(COLUMNS, ""),
        "image": f"eyes/{number}.jpg",
        "modality": "fundus",
        "variant": ("colour256", "colour512")[number % 2],
        "source": ("aptos2019", "eyepacs")[number % 2],
        "grade": str((number // 5 + number) % 5),
        "gradable": ("", "1")[number % 2],
        "eyeq": ("", "0")[number % 2],
        "camera": ("1.32", "")[number % 2],
        "split": split,
        "patient": f"p{number}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "shard": shard,
    }


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty drawn eyes in two shards with a label table, laid out like the real ones."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for part in range(2):
        shard = f"shard{part}.tar"
        with tarfile.open(folder / shard, "w") as archive:
            for number in range(part, 60, 2):
                file = io.BytesIO()
                grade = (number // 5 + number) % 5
                photo = draw_fundus(number, grade=grade, size_px=(128, 128))
                photo.save(file, "JPEG", quality=92)
                row = _row(number, file.getvalue(), shard)
                member = tarfile.TarInfo(row["image"])
                member.size = len(file.getvalue())
                archive.addfile(member, io.BytesIO(file.getvalue()))
                rows.append(row)
    return write_rows(folder, rows)


@pytest.fixture
def folders(data: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    cache = tmp_path_factory.getbasetemp() / "bands"
    return Folders(data=data, cache=cache, run=tmp_path / "run")


def tiny_config() -> TrainingConfig:
    return TrainingConfig(
        architecture="tiny_cnn", preprocessing=SMALL, epochs=2, batch_size=8, painted_share=0.5
    )


@pytest.fixture
def config() -> TrainingConfig:
    return tiny_config()


def silent(_line: str) -> None:
    """Say nothing."""


def weights_of(run: Run) -> torch.Tensor:
    """Return all of a run's averaged weights in a row."""
    return torch.cat([value.float().flatten() for value in run.average.state_dict().values()])
