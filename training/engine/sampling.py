"""Which eyes an epoch shows, in which order, and how much each grade weighs."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
import torch

from inference.engine.schemas import GRADES
from training.engine.config import TrainingConfig
from training.engine.datasets import Eye

Groups = Sequence[Hashable]


def sample_weights(eyes: Sequence[Eye], balance: str, max_repeat: float) -> np.ndarray:
    """Return how often an epoch shows each eye on average; [n] float64.

    1 throughout when only the loss is balanced; the mean is 1 for `grade` and `camera`, more for
    `oversample` and less for `undersample`.
    """
    grades = [eye.grade for eye in eyes]
    if balance == "grade":
        return _evened(grades, ["all"] * len(eyes), len(set(grades)), max_repeat)
    if balance == "camera":
        sides = [(eye.domain, eye.grade >= 2) for eye in eyes]
        return _evened(sides, [eye.domain for eye in eyes], 2, max_repeat)
    sizes = Counter(grades)
    if balance == "oversample":
        most = max(sizes.values())
        return np.array([min(most / sizes[grade], max_repeat) for grade in grades])
    if balance == "undersample":
        least = min(sizes.values())
        return np.array([max(least / sizes[grade], 1 / max_repeat) for grade in grades])
    return np.ones(len(eyes))


def grade_weights(eyes: Sequence[Eye], config: TrainingConfig) -> torch.Tensor | None:
    """Return how much each grade's eyes weigh in the loss, [5] float32; None: all the same."""
    if config.balance != "weighted":
        return None
    weights = sample_weights(eyes, "grade", config.max_repeat)
    by_grade = dict(zip([eye.grade for eye in eyes], weights, strict=True))
    return torch.tensor([by_grade.get(grade, 1.0) for grade in range(len(GRADES))]).float()


def epoch_batches(config: TrainingConfig, eyes: Sequence[Eye], epoch: int) -> list[list[int]]:
    """Return the places of each batch's eyes. A last batch that would be short is left out.

    The same configuration, eyes and epoch give the same batches. With fewer eyes than a batch
    holds, the one batch holds them all.
    """
    random = np.random.default_rng([config.seed, epoch])
    order = _epoch_order(config, eyes, random)
    size = min(config.batch_size, len(order))
    return [order[start : start + size].tolist() for start in range(0, len(order) - size + 1, size)]


def _epoch_order(
    config: TrainingConfig, eyes: Sequence[Eye], random: np.random.Generator
) -> np.ndarray:
    if config.balance in ("natural", "weighted"):
        return random.permutation(len(eyes))
    weights = sample_weights(eyes, config.balance, config.max_repeat)
    if config.balance in ("grade", "camera"):
        return random.permutation(_stratified(weights, len(eyes), random))
    # Shuffled first, or which eyes are left out would depend on their neighbours in the table.
    mixed = random.permutation(len(eyes))
    total = max(1, round(weights.sum()))
    return random.permutation(mixed[_stratified(weights[mixed], total, random)])


def _evened(groups: Groups, wholes: Groups, parts: int, max_repeat: float) -> np.ndarray:
    """Give each of a whole's `parts` groups the same sum of weights, as max_repeat allows."""
    sizes, whole_sizes = Counter(groups), Counter(wholes)
    weights = np.array(
        [
            whole_sizes[whole] / parts / sizes[group]
            for group, whole in zip(groups, wholes, strict=True)
        ]
    )
    weights = weights.clip(1 / max_repeat, max_repeat)
    return weights / weights.mean()


def _stratified(weights: np.ndarray, total: int, random: np.random.Generator) -> np.ndarray:
    """Draw `total` places so that each comes as often as its weight says, give or take one."""
    edges = np.cumsum(weights) / weights.sum() * total
    ticks = np.arange(total) + random.random()
    return np.searchsorted(edges, ticks.clip(0, total - 1e-9)).clip(0, len(weights) - 1)
