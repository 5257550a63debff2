"""The recipe, from top to bottom in the order in which things happen.

Read eyes, decode them once, then epochs of: sample, paint, vary, learn, average, check, save.
The same seed gives the same weights on a CPU, however many processes prepare its batches, and a
run that was killed and resumed gives them too.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn
from tqdm import tqdm

from inference.engine.architectures import GradingNetwork
from training.engine.batches import (
    Batch,
    EpochSteps,
    Material,
    Stopwatch,
    choose_workers,
    load_batches,
)
from training.engine.checkpoints import (
    Run,
    leased,
    load_best,
    resume_or_start,
    save_best,
    save_checkpoint,
)
from training.engine.config import Folders, Machine, TrainingConfig, check_config, check_folders
from training.engine.datasets import (
    Eye,
    check_tuning_split,
    data_fingerprint,
    eyes_to_learn_from,
    graded,
    load_bands,
    read_eyes,
)
from training.engine.devices import describe_device, has_fast_bf16, pick_device, prefer_speed
from training.engine.errors import DataInvalid, TrainingError
from training.engine.initial import read_beginning, train_but_frozen
from training.engine.losses import grade_error, ordinal_loss, taught_targets
from training.engine.ranks import ALONE, Ranks, check_shares
from training.engine.records import split_fingerprint, write_record
from training.engine.scoring import check_epoch, predict_scores
from training.engine.teachers import Teachers, read_teachers

__all__ = [
    "Folders",
    "Machine",
    "Run",
    "TrainingConfig",
    "predict_scores",
    "resume_or_start",
    "train",
]

CHECKED_ON = "val"
LARGEST_GRADIENT = 5.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What lies ready through a whole run."""

    config: TrainingConfig
    folders: Folders
    machine: Machine
    device: torch.device
    ranks: Ranks
    learning: Material
    checking: Material
    teachers: Teachers | None
    sources: dict[str, object]  # hashes of what the run reads
    say: Say


def train(
    config: TrainingConfig,
    folders: Folders,
    *,
    machine: Machine | None = None,
    ranks: Ranks = ALONE,
    say: Say = print,
    stop_at: float = math.inf,
    after_epoch: Callable[[Run], None] | None = None,
) -> Run:
    """Train, or go on training, until the last epoch, until patience ends, or until the clock says
    `stop_at`. `after_epoch` is given the run when it is saved, and may end it by raising.

    Post-state: the checkpoint in `folders.run` holds the run. With patience, the average of the
    returned run is that of its best epoch. Raises RunBusy when another process is at it.
    """
    check_config(config)
    check_folders(config, folders)
    machine = machine or Machine()
    device = pick_device(machine.device)
    prefer_speed(device)
    with _lease(folders, ranks):
        bench = lay_out(config, folders, machine, device, ranks, say if ranks.first else _silent)
        run = open_run(bench)
        forward = ranks.together(run.network)
        while ranks.agreed(not is_over(run, config) and time.time() < stop_at):
            finish_epoch(run, bench, *train_epoch(run, bench, forward))
            if after_epoch and ranks.first:
                after_epoch(run)
        if config.patience and run.best_epoch and is_over(run, config):
            bench.say(f"keeping epoch {run.best_epoch} of {run.epoch}, the best by its figure")
            load_best(run, folders.run)
        return run


def lay_out(
    config: TrainingConfig,
    folders: Folders,
    machine: Machine,
    device: torch.device,
    ranks: Ranks,
    say: Say,
) -> Bench:
    """Read the eyes that the run learns from and is checked on, and no others."""
    check_shares(config, ranks)
    if config.bf16 and not has_fast_bf16(device):
        say("this processor computes no bf16 of its own: training is slower than without")
    eyes = read_eyes(folders.data)
    check_tuning_split(CHECKED_ON)
    learning, checking = eyes_to_learn_from(eyes), graded(eyes, CHECKED_ON)
    for name, part in (("train", learning), (CHECKED_ON, checking)):
        if not part:
            raise DataInvalid(f"No graded eyes in the split {name!r}.", "Split the data first.")
    with _first_alone(ranks):
        materials = [_material(part, config, folders) for part in (learning, checking)]
    say(f"learning from {len(learning)} eyes, checking on {len(checking)}")
    teachers = read_teachers(folders.teachers, config.preprocessing, device)
    return Bench(
        config=config,
        folders=folders,
        machine=replace(machine, workers=choose_workers(machine.workers, device, ranks)),
        device=device,
        ranks=ranks,
        learning=materials[0],
        checking=materials[1],
        teachers=teachers,
        sources={
            "data": data_fingerprint(learning),
            "splits": split_fingerprint(eyes),
            "teachers": list(teachers.sha256) if teachers else [],
        },
        say=say,
    )


def open_run(bench: Bench) -> Run:
    """Resume the folder's run or start it, and write down what it is made of."""
    config, folders = bench.config, bench.folders
    beginning = read_beginning(config, folders.init)
    bench.sources["init"] = beginning.sha256
    run = resume_or_start(
        config, folders.run, device=bench.device, beginning=beginning, sources=bench.sources
    )
    taken = run.taken
    if taken.taken:
        fresh = f", fresh: {', '.join(taken.fresh)}" if taken.fresh else ""
        bench.say(f"took {taken.taken} tensors from {config.init}{fresh}")
    if run.epoch or run.step:
        bench.say(f"going on after epoch {run.epoch}, step {run.step}")
    if bench.ranks.first:
        write_record(
            folders.run,
            config=config,
            sources=bench.sources,
            taken=taken,
            device=describe_device(bench.device),
            processes=bench.ranks.world,
        )
    return run


def is_over(run: Run, config: TrainingConfig) -> bool:
    """Say whether the last epoch is done, or patience has ended."""
    return run.epoch >= config.epochs or 0 < config.patience <= run.epoch - run.best_epoch


def train_epoch(run: Run, bench: Bench, forward: nn.Module) -> tuple[float, Stopwatch]:
    """Do the rest of the epoch under way. Returns its mean loss, and how long batches took."""
    config = bench.config
    train_but_frozen(run.network, config.freeze)
    steps = EpochSteps(config, bench.learning, run.epoch, bench.ranks)
    watch, saved_at = Stopwatch(), time.monotonic()
    # Summed where the network computes: asking a GPU for each loss would make it wait.
    total = torch.tensor(run.loss_sum, dtype=torch.float64, device=bench.device)
    for step, batch in _shown(_batches(steps, run, bench, watch), steps, run, bench.ranks):
        torch.manual_seed(steps.seed(step))  # dropout
        total += learn(run, bench, forward, batch, steps.progress(step))
        done = run.epoch * len(steps) + step
        update_average(run.average, run.network, config.ema_decay, run.head_start + done)
        run.step = step + 1
        minutes = (time.monotonic() - saved_at) / 60
        if bench.ranks.first and minutes >= bench.machine.checkpoint_minutes:
            run.loss_sum = _finite(total)
            save_checkpoint(run, config, bench.folders.run, sources=bench.sources)
            saved_at = time.monotonic()
    return _finite(total) / len(steps), watch


def _finite(total: torch.Tensor) -> float:
    """Return the loss as a number. Raises TrainingError when it is none: nothing is saved then."""
    value = total.item()
    if not math.isfinite(value):
        raise TrainingError(
            "The loss is no number any more, so the run is lost from here on.",
            "Begin another with a lower --learning-rate, a longer --warmup-share or --no-bf16.",
        )
    return value


def learn(
    run: Run, bench: Bench, forward: nn.Module, batch: Batch, progress: float
) -> torch.Tensor:
    """Take one step. Returns the loss, float32, without its graph."""
    config, targets = bench.config, batch.targets
    if bench.teachers:
        targets = taught_targets(targets, bench.teachers.teach(batch.images), config.teacher_share)
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(config, progress)
    with torch.autocast(bench.device.type, torch.bfloat16, enabled=config.bf16):
        scores, _ = forward(batch.images)
    loss = ordinal_loss(scores.float(), targets, batch.weights)
    if config.loss == "ordinal+mse":
        loss = loss + config.mse_weight * grade_error(scores.float(), targets, batch.weights)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), LARGEST_GRADIENT)
    run.optimiser.step()
    return loss.detach()


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """Rise linearly, then fall along a cosine. progress: 0 to 1."""
    if progress < config.warmup_share:
        return config.learning_rate * (0.05 + 0.95 * progress / config.warmup_share)
    fall = (progress - config.warmup_share) / (1 - config.warmup_share)
    return config.learning_rate * 0.5 * (1.005 + 0.995 * math.cos(math.pi * fall))


@torch.no_grad()
def update_average(
    average: GradingNetwork, network: GradingNetwork, decay: float, step: int
) -> None:
    """Move the averaged weights a little towards the present ones; faster in the beginning."""
    decay = min(decay, (1 + step) / (10 + step))
    present = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(present[name], 1 - decay)
        else:
            value.copy_(present[name])


def finish_epoch(run: Run, bench: Bench, loss: float, watch: Stopwatch) -> None:
    """Check the averaged network, note the epoch, keep the best, save."""
    bench.ranks.share(run.network, run.average)
    run.epoch, run.step, run.loss_sum = run.epoch + 1, 0, 0.0
    if not bench.ranks.first:
        return
    trained_s, stall = watch.seconds, watch.stall
    checking = bench.checking
    figures = check_epoch(run.average, bench.config, checking.eyes, checking.bands)
    run.history.append({"epoch": run.epoch, "loss": loss, **figures})
    if figures.get("figure", -math.inf) > run.best_figure:
        run.best_epoch, run.best_figure = run.epoch, figures["figure"]
        # Before the checkpoint that names it: a kill between the two repeats the epoch.
        save_best(run, bench.config, bench.folders.run)
    save_checkpoint(run, bench.config, bench.folders.run, sources=bench.sources)
    bench.say(f"{_line(run.history[-1])} seconds={trained_s:.0f} waiting={stall:.0%}")


@contextmanager
def _lease(folders: Folders, ranks: Ranks) -> Iterator[None]:
    if not ranks.first:
        yield
        return
    with leased(folders.run):
        yield


@contextmanager
def _first_alone(ranks: Ranks) -> Iterator[None]:
    """Let the first rank do something before the others, who then find it done."""
    if not ranks.first:
        ranks.wait()
    yield
    if ranks.first:
        ranks.wait()


def _material(eyes: list[Eye], config: TrainingConfig, folders: Folders) -> Material:
    bands = load_bands(eyes, data=folders.data, cache=folders.cache, spec=config.preprocessing)
    return Material(eyes=eyes, bands=bands)


def _batches(
    steps: EpochSteps, run: Run, bench: Bench, watch: Stopwatch
) -> Iterator[tuple[int, Batch]]:
    return load_batches(
        steps, first=run.step, workers=bench.machine.workers, device=bench.device, watch=watch
    )


def _shown(
    batches: Iterator[tuple[int, Batch]], steps: EpochSteps, run: Run, ranks: Ranks
) -> Iterator[tuple[int, Batch]]:
    """Show a progress bar on a terminal, and nothing elsewhere."""
    return tqdm(
        batches,
        desc=f"epoch {run.epoch + 1}",
        total=len(steps),
        initial=run.step,
        unit="batch",
        leave=False,
        disable=None if ranks.first else True,
    )


def _line(figures: dict[str, float]) -> str:
    values = " ".join(f"{name}={value:.3f}" for name, value in figures.items() if name != "epoch")
    return f"epoch {figures['epoch']:.0f} {values}"


def _silent(_line: str) -> None:
    pass
