"""A run on disk: what goes on exactly where it stopped, and who may work on it.

checkpoint.pt        the whole state, at the end of an epoch or within one
best.safetensors     the averaged network of the best epoch
run.json             what the run was made of (`training.engine.records`)
lock                 held by the process that works on the run
"""

import fcntl
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as safe_bytes

from inference.engine.architectures import GradingNetwork, build_network
from training.engine.config import TrainingConfig, config_text
from training.engine.errors import RunBusy, TrainingError
from training.engine.initial import BEST, Beginning, Taken, begin_with, freeze_layers

CHECKPOINT, LOCK = "checkpoint.pt", "lock"
FORMAT = 2
# A network that starts whole is worth averaging from its first step on.
AVERAGE_HEAD_START = 300
CPU = torch.device("cpu")


@dataclass(kw_only=True)
class Run:
    """What changes while training, and what a checkpoint holds."""

    network: GradingNetwork
    average: GradingNetwork
    optimiser: torch.optim.Optimizer
    taken: Taken
    head_start: int = 0  # steps that the average counts as done before the first
    epoch: int = 0  # whole epochs done
    step: int = 0  # steps done of the epoch under way
    loss_sum: float = 0.0  # over those steps
    best_epoch: int = 0
    best_figure: float = -math.inf
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Say where the network computes."""
        return next(self.network.parameters()).device


@contextmanager
def leased(folder: Path) -> Iterator[None]:
    """Hold the run's folder against every other process. Raises RunBusy when it is held.

    The lock ends with this process, however it ends. Processes that it forks don't inherit it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunBusy(
                f"The run {folder.name} is under way in another process.",
                "Wait until it ends, or choose another name.",
            ) from error
        yield


def start_run(
    config: TrainingConfig, *, device: torch.device = CPU, beginning: Beginning | None = None
) -> Run:
    """Build the network with its first weights, its average and its optimiser."""
    torch.manual_seed(config.seed)
    network = build_network(config.architecture, dropout=config.dropout)
    average = build_network(config.architecture).eval().requires_grad_(False)
    taken = begin_with(network, beginning or Beginning())
    average.load_state_dict(network.state_dict())
    freeze_layers(network, config.freeze)
    network.to(device, memory_format=torch.channels_last)
    average.to(device, memory_format=torch.channels_last)
    groups = _parameter_groups(network, config.weight_decay)
    return Run(
        network=network,
        average=average,
        optimiser=torch.optim.AdamW(groups, lr=config.learning_rate),
        taken=taken,
        head_start=AVERAGE_HEAD_START if taken.taken and not taken.fresh else 0,
    )


def resume_or_start(
    config: TrainingConfig,
    folder: Path,
    *,
    device: torch.device = CPU,
    beginning: Beginning | None = None,
    sources: Mapping[str, object] | None = None,
) -> Run:
    """Load the folder's checkpoint, or start afresh when there is none.

    `sources` are the hashes of everything the run reads: going on with other eyes or another
    teacher would not be the same run. Raises TrainingError when the checkpoint is of another one.
    """
    run = start_run(config, device=device, beginning=beginning)
    path = folder / CHECKPOINT
    if not path.is_file():
        return run
    saved = _read(path)
    if saved.get("format") != FORMAT:
        raise TrainingError(
            "The run's checkpoint was written by another version of the recipe.",
            "Finish the run with that version or choose an empty folder.",
        )
    _check_same(saved, config, sources)
    run.network.load_state_dict(saved["network"])
    run.average.load_state_dict(saved["average"])
    run.optimiser.load_state_dict(saved["optimiser"])
    for name in _PLAIN:
        setattr(run, name, saved[name])
    return run


def save_checkpoint(
    run: Run,
    config: TrainingConfig,
    folder: Path,
    *,
    sources: Mapping[str, object] | None = None,
) -> None:
    """Write the run under a temporary name and move it into place."""
    told = {
        "format": FORMAT,
        "config": config_text(config),
        "sources": dict(sources or {}),
        "network": run.network.state_dict(),
        "average": run.average.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        **{name: getattr(run, name) for name in _PLAIN},
    }
    write_whole(folder / CHECKPOINT, lambda file: torch.save(told, file))


def save_best(run: Run, config: TrainingConfig, folder: Path) -> None:
    """Keep the averaged network as it is now."""
    state = {name: value.contiguous().cpu() for name, value in run.average.state_dict().items()}
    content = safe_bytes(state, {"architecture": config.architecture, "epoch": str(run.epoch)})
    write_whole(folder / BEST, lambda file: file.write(content))


def load_best(run: Run, folder: Path) -> None:
    """Make the best epoch's averaged network the run's. Raises TrainingError when it is gone."""
    if not (folder / BEST).is_file():
        raise TrainingError(
            f"{BEST} is gone from the run's folder.", "Train again in an empty folder."
        )
    run.average.load_state_dict(load_file(folder / BEST))


def _read(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # what a damaged file raises is not documented
        raise TrainingError(
            f"The run's {path.name} is damaged.",
            "Remove it to begin again, or choose an empty folder.",
        ) from error


_PLAIN = ("head_start", "epoch", "step", "loss_sum", "best_epoch", "best_figure", "history")


def _check_same(
    saved: Mapping[str, object], config: TrainingConfig, sources: Mapping[str, object] | None
) -> None:
    if saved["config"] != config_text(config):
        raise TrainingError(
            "The run's folder holds a checkpoint of another configuration.",
            "Resume with the same options or choose an empty folder.",
        )
    if sources is not None and saved["sources"] != dict(sources):
        other = [name for name in sources if saved["sources"].get(name) != sources[name]]
        raise TrainingError(
            f"The run's checkpoint was made from other files: {', '.join(other)}.",
            "Resume with the same files or choose an empty folder.",
        )


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that it is there whole or not at all, after a power cut too.

    Raises TrainingError when the disk doesn't take it; what was there before stays.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)  # what it holds would only fill the disk further
        raise TrainingError(
            f"{path.name} can't be written: {error.strerror or error}.",
            "Make room or mend the disk; the same command then goes on from the last save.",
        ) from error


def _parameter_groups(network: GradingNetwork, weight_decay: float) -> list[dict[str, object]]:
    """Spare biases and normalisation from weight decay."""
    learning = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
