"""What decides a run: its configuration, its folders, and the machine it computes on."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from inference.engine.schemas import Preprocessing
from inference.engine.transforms import check_spec
from training.engine.errors import TrainingError

BALANCES = ("natural", "oversample", "undersample", "weighted", "grade", "camera")
LOSSES = ("ordinal", "ordinal+mse")
INITS = ("scratch", "imagenet", "file")
SHARES = ("painted_share", "small_share", "teacher_share", "warmup_share", "dropout", "ema_decay")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that decides the weights, but for the files of `Folders`. Stands in the run's
    manifest as it is, beside the hashes of those files.

    balance: natural (as the data are), oversample (an epoch repeats rare grades), undersample
    (an epoch leaves out common grades), weighted (rare grades weigh more in the loss), grade (even
    grades in an epoch of the same length), camera (referable or not, even within each camera).
    """

    architecture: str = "resnet101"
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    init: str = "scratch"  # scratch, imagenet, file (`Folders.init`)
    freeze: tuple[str, ...] = ()  # layers that keep their first weights: stem, layer1 …
    epochs: int = 30
    patience: int = 0  # epochs without a better figure on val before stopping; 0: never stops
    small_share: float = 0.0  # of the epochs, at three quarters of the size: learns cheaper first
    batch_size: int = 32  # over all ranks together
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_share: float = 0.05
    dropout: float = 0.2
    smoothing: float = 0.03
    ema_decay: float = 0.998
    loss: str = "ordinal"
    mse_weight: float = 0.25  # of the expected grade's squared error in ordinal+mse
    teacher_share: float = 0.0  # of the targets that comes from `Folders.teachers`
    balance: str = "natural"
    max_repeat: float = 4.0  # how often balancing may show one eye more than another
    painted_share: float = 0.0  # of the healthy eyes shown, with lesions painted on, falling to 0
    bf16: bool = False
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where a run reads and writes. `init` is a weights file, a model's folder or a run's."""

    data: Path
    cache: Path
    run: Path
    init: Path | None = None
    teachers: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a run computes: it decides how fast, and on a CPU changes no weight by a bit."""

    device: str = "auto"  # auto, cpu, cuda
    workers: int | None = None  # processes that prepare batches; None chooses by device
    checkpoint_minutes: float = 10.0  # within an epoch; each epoch's end is kept as well


def check_config(config: TrainingConfig) -> None:
    """Refuse a configuration that can't be trained or served.

    Raises TrainingError, or SpecInvalid when serving could not repeat the preprocessing.
    """
    check_spec(config.preprocessing)
    for name, known in (("balance", BALANCES), ("loss", LOSSES), ("init", INITS)):
        value = getattr(config, name)
        if value not in known:
            raise TrainingError(f"Unknown {name} {value!r}.", f"Use one of {', '.join(known)}.")
    for name in SHARES:
        if not 0 <= getattr(config, name) <= 1:
            raise TrainingError(f"{name} is not a share.", "Give a number from 0 to 1.")
    for name in ("epochs", "batch_size", "max_repeat"):
        if not getattr(config, name) >= 1:
            raise TrainingError(f"{name} is {getattr(config, name)}.", "Give at least 1.")
    for name in ("patience", "weight_decay", "mse_weight", "seed"):
        if not getattr(config, name) >= 0:
            raise TrainingError(f"{name} is {getattr(config, name)}.", "Give 0 or more.")
    if not config.learning_rate > 0:
        raise TrainingError("The learning rate teaches nothing.", "Give a --learning-rate above 0.")
    if not 0 <= config.smoothing < 0.5:
        raise TrainingError("smoothing turns the labels round.", "Give less than 0.5.")


def check_folders(config: TrainingConfig, folders: Folders) -> None:
    """Refuse files without the option that uses them, and the other way round."""
    if config.init == "file" and folders.init is None:
        raise TrainingError("init is 'file', and no file is named.", "Give --init FILE.")
    if bool(folders.teachers) != (config.teacher_share > 0):
        raise TrainingError(
            "A teacher needs a share of the targets, and a share needs a teacher.",
            "Give --teacher DIR and --teacher-share, or neither.",
        )


def config_text(config: TrainingConfig) -> str:
    """Write a configuration as one line of JSON: equal texts mean equal configurations."""
    return json.dumps(asdict(config), sort_keys=True)
