"""The options of the recipe, for every command that trains."""

import shlex
from argparse import ArgumentParser, BooleanOptionalAction
from dataclasses import fields
from pathlib import Path
from typing import Any

from django.conf import settings

from inference.engine.architectures import ARCHITECTURES
from inference.engine.schemas import Preprocessing
from training.engine.config import BALANCES, LOSSES, Folders, Machine, TrainingConfig
from training.engine.devices import pick_device

PRESET = TrainingConfig()
# Options whose value is the configuration's as it is.
PLAIN = (
    "architecture",
    "epochs",
    "patience",
    "small_share",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "warmup_share",
    "dropout",
    "smoothing",
    "ema_decay",
    "loss",
    "mse_weight",
    "teacher_share",
    "balance",
    "max_repeat",
    "painted_share",
    "seed",
)


def add_recipe_options(parser: ArgumentParser) -> None:
    """Add the options that decide a run's weights, and where it computes."""
    parser.add_argument(
        "--data", type=Path, default=settings.TRAINING_DATA, help="folder with labels.csv"
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--arch",
        "--architecture",
        dest="architecture",
        choices=list(ARCHITECTURES),
        default=PRESET.architecture,
    )
    network.add_argument("--size-px", type=int, nargs=2, default=list(PRESET.preprocessing.size_px))
    network.add_argument(
        "--init",
        default="scratch",
        metavar="scratch|imagenet|FILE",
        help="what the network starts from; FILE is a safetensors file or a model's folder",
    )
    network.add_argument(
        "--freeze", nargs="+", default=[], metavar="LAYER", help="stem, layer1, layer2 …"
    )
    network.add_argument(
        "--teacher", type=Path, action="append", default=[], help="a model's folder; repeatable"
    )
    _add_plain(network, "dropout", "teacher_share")
    epochs = parser.add_argument_group("epochs")
    _add_plain(epochs, "epochs", "small_share", "batch_size", "seed")
    epochs.add_argument(
        "--patience",
        type=int,
        default=PRESET.patience,
        help="stop after so many epochs without a better figure on val, and keep the best; "
        "0 goes on to the last epoch and keeps that",
    )
    eyes = parser.add_argument_group("eyes")
    eyes.add_argument("--balance", choices=BALANCES, default=PRESET.balance)
    _add_plain(eyes, "max_repeat", "painted_share")
    steps = parser.add_argument_group("steps")
    steps.add_argument("--loss", choices=LOSSES, default=PRESET.loss)
    _add_plain(
        steps,
        *("learning_rate", "weight_decay", "warmup_share", "smoothing", "ema_decay", "mse_weight"),
    )
    _add_machine_options(parser.add_argument_group("machine"))


def config_from(options: dict[str, Any]) -> TrainingConfig:
    """Gather the configuration. bf16 is used on a GPU unless --no-bf16 says otherwise."""
    bf16 = options["bf16"]
    if bf16 is None:
        bf16 = pick_device(options["device"]).type == "cuda"
    return TrainingConfig(
        preprocessing=Preprocessing(size_px=tuple(options["size_px"])),
        init=options["init"] if options["init"] in ("scratch", "imagenet") else "file",
        freeze=tuple(options["freeze"]),
        bf16=bf16,
        **{name: options[name] for name in PLAIN},
    )


def folders_from(options: dict[str, Any], run: Path) -> Folders:
    """Gather where a run reads and writes; `run` is its own folder."""
    named = options["init"] not in ("scratch", "imagenet")
    return Folders(
        data=options["data"],
        cache=settings.VAR_DIR / "training" / "cache",
        run=run,
        init=Path(options["init"]) if named else None,
        teachers=tuple(options["teacher"]),
    )


def machine_from(options: dict[str, Any]) -> Machine:
    """Gather what decides how fast a run goes."""
    return Machine(
        device=options["device"],
        workers=options["workers"],
        checkpoint_minutes=options["checkpoint_minutes"],
    )


def command_line(config: TrainingConfig, folders: Folders) -> str:
    """Write the `train_model` command that trains with this configuration."""
    words = ["python", "manage.py", "train_model", "--data", str(folders.data)]
    for field in fields(config):
        value = getattr(config, field.name)
        if value != getattr(PRESET, field.name) and field.name in PLAIN:
            words += [_flag(field.name), str(value)]
    if config.preprocessing.size_px != PRESET.preprocessing.size_px:
        words += ["--size-px", *map(str, config.preprocessing.size_px)]
    if config.init != "scratch":
        words += ["--init", str(folders.init or config.init)]
    if config.freeze:
        words += ["--freeze", *config.freeze]
    for teacher in folders.teachers:
        words += ["--teacher", str(teacher)]
    words.append("--bf16" if config.bf16 else "--no-bf16")
    return shlex.join(words)


def _add_plain(group: Any, *names: str) -> None:
    for name in names:
        preset = getattr(PRESET, name)
        group.add_argument(_flag(name), type=type(preset), default=preset, help=f"default {preset}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _add_machine_options(machine: Any) -> None:
    preset = Machine()
    machine.add_argument("--device", choices=("auto", "cpu", "cuda"), default=preset.device)
    machine.add_argument(
        "--bf16",
        action=BooleanOptionalAction,
        default=None,
        help="shorter numbers; default on a GPU, off on a CPU",
    )
    machine.add_argument("--workers", type=int, help="processes that prepare batches")
    machine.add_argument(
        "--checkpoint-minutes",
        type=float,
        default=preset.checkpoint_minutes,
        help=f"save within an epoch so often; default {preset.checkpoint_minutes:g}",
    )
