"""Batches: what a step learns from, prepared by processes beside the one that learns.

A batch depends on the configuration, the eyes, the epoch and the step, and on nothing else: not on
the batch before it, nor on who prepares it. So any number of processes give the same batches, and
a resumed epoch goes on with the batch that it stopped at.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from inference.engine.transforms import standardise
from training.engine.augment import vary_camera, vary_contrast, vary_pose
from training.engine.config import TrainingConfig
from training.engine.datasets import Eye
from training.engine.errors import TrainingError
from training.engine.losses import cumulative_targets
from training.engine.painting import paint_lesions
from training.engine.ranks import ALONE, Ranks
from training.engine.sampling import epoch_batches, grade_weights

SMALL_SCALE = 0.75
WAITING_BATCHES = 3  # a worker prepares so many ahead


class Batch(NamedTuple):
    """images [b, 3, h, w] float32, targets [b, 4], weights [b, 4]."""

    images: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Material:
    """The eyes that a run learns from, with their bands [n, h, w, 3] uint8."""

    eyes: Sequence[Eye]
    bands: np.ndarray


class Stopwatch:
    """How long the network waited for batches, out of how long it took altogether."""

    def __init__(self) -> None:
        self.waited_s = 0.0
        self.began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.perf_counter() - self.began

    @property
    def stall(self) -> float:
        """The share of the time that went by waiting, 0 to 1."""
        return self.waited_s / max(self.seconds, 1e-9)


class EpochSteps(Dataset):
    """An epoch's batches by step; a rank sees its own share of each."""

    def __init__(
        self, config: TrainingConfig, material: Material, epoch: int, ranks: Ranks = ALONE
    ) -> None:
        self.config, self.material, self.epoch, self.ranks = config, material, epoch, ranks
        self.batches = epoch_batches(config, material.eyes, epoch)
        self.grade_weights = grade_weights(material.eyes, config)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> Batch:
        places = self.batches[step][self.ranks.rank :: self.ranks.world]
        return make_batch(
            self.config,
            self.material.eyes,
            self.material.bands,
            places,
            self.progress(step),
            torch.Generator().manual_seed(self.seed(step)),
            grade_weights=self.grade_weights,
        )

    def progress(self, step: int) -> float:
        """Say how much of the whole run lies behind this step, 0 to 1."""
        return (self.epoch + step / len(self)) / self.config.epochs

    def seed(self, step: int) -> int:
        """Name the chance of this step, in this rank."""
        return step_seed(self.config.seed, self.epoch, step) + (self.ranks.rank << 40)


def step_seed(seed: int, epoch: int, step: int) -> int:
    """Name a step's chance: what its batch varies, and what dropout leaves out."""
    return seed * 1_000_003 + epoch * 10_007 + step


def load_batches(
    steps: EpochSteps,
    *,
    first: int = 0,
    workers: int,
    device: torch.device,
    watch: Stopwatch,
) -> Iterator[tuple[int, Batch]]:
    """Yield (step, batch) from step `first` on, batches on the device; waiting is measured."""
    loader = DataLoader(
        steps,
        batch_size=None,
        sampler=range(first, len(steps)),
        num_workers=workers,
        prefetch_factor=WAITING_BATCHES if workers else None,
        # Forked, so that the memory-mapped bands are shared; workers never touch the GPU.
        multiprocessing_context="fork" if workers else None,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # else it would draw from the one that dropout uses
    )
    batches = iter(loader)
    for step in range(first, len(steps)):
        asked = time.perf_counter()
        with _one_thread(unless=workers > 0):
            batch = _moved(next(batches), device)
        watch.waited_s += time.perf_counter() - asked
        yield step, batch


def choose_workers(asked: int | None, device: torch.device, ranks: Ranks) -> int:
    """Say how many processes prepare batches: one beside a CPU, as many as help beside a GPU.

    Raises TrainingError when fewer than none are asked for.
    """
    if asked is not None:
        if asked < 0:
            raise TrainingError(f"{asked} workers can't be.", "Give --workers 0 or more.")
        return asked
    spare = len(os.sched_getaffinity(0)) // ranks.world - 1
    return max(0, min(spare, 12 if device.type == "cuda" else 1))


def make_batch(
    config: TrainingConfig,
    eyes: Sequence[Eye],
    bands: np.ndarray,
    places: Sequence[int],
    progress: float,
    random: torch.Generator,
    *,
    grade_weights: torch.Tensor | None = None,
) -> Batch:
    """Draw the batch of the eyes at `places`. grade_weights: [5] float32, how much each counts."""
    painter = np.random.default_rng(random.initial_seed())
    chosen = np.stack([bands[place] for place in places])
    grades = torch.tensor([eyes[place].grade for place in places])
    weights = torch.ones(len(places), 4)
    share = config.painted_share * max(0.0, 1 - progress / 0.7)
    for row in np.flatnonzero(grades.numpy() == 0):
        if painter.random() < share:
            chosen[row], grade = paint_lesions(chosen[row], painter)
            grades[row] = grade
            weights[row, 2:] = 0.0
    if grade_weights is not None:
        weights *= grade_weights[grades][:, None]
    light = torch.from_numpy(chosen).permute(0, 3, 1, 2).contiguous().float()
    light = vary_camera(light, random)
    images = vary_contrast(standardise(light, config.preprocessing), random)
    if progress < config.small_share:
        images = functional.interpolate(
            images, scale_factor=SMALL_SCALE, mode="bilinear", antialias=True
        )
    images = vary_pose(images, random).contiguous(memory_format=torch.channels_last)
    return Batch(images, cumulative_targets(grades, smoothing=config.smoothing), weights)


def _moved(batch: Batch, device: torch.device) -> Batch:
    return Batch(*(part.to(device, non_blocking=True) for part in batch))


@contextmanager
def _one_thread(*, unless: bool) -> Iterator[None]:
    """Prepare in one thread, as workers do: sums in another order differ in their last bit."""
    threads = torch.get_num_threads()
    if unless or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
