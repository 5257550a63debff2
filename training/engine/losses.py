"""The loss of an ordinal head.

scores:  [b, 4] float32, raw; ordered here as serving orders them
targets: [b, 4] float32, P(grade >= 1 … >= 4), 0 to 1
weights: [b, 4] float32, 0 where a label says nothing about a threshold
"""

import torch
from torch.nn import functional

from inference.engine.schemas import THRESHOLDS


def ordered(scores: torch.Tensor) -> torch.Tensor:
    """Order scores so that P(>=1) >= … >= P(>=4): each is the least of those before it."""
    return torch.cummin(scores, dim=1).values


def cumulative_targets(grades: torch.Tensor, *, smoothing: float = 0.0) -> torch.Tensor:
    """Turn grades [b] int64, 0 to 4, into targets [b, 4]; readers are noisy, so smooth a little."""
    above = (grades[:, None] > torch.arange(THRESHOLDS)[None, :]).float()
    return above * (1 - 2 * smoothing) + smoothing


def taught_targets(targets: torch.Tensor, taught: torch.Tensor, share: float) -> torch.Tensor:
    """Mix in what a teacher says, [b, 4]; it may know better than one noisy reader."""
    return targets * (1 - share) + taught * share


def ordinal_loss(
    scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return the mean binary cross-entropy over the thresholds that count."""
    raw = functional.binary_cross_entropy_with_logits(ordered(scores), targets, reduction="none")
    return (raw * weights).sum() / weights.sum().clamp_min(1.0)


def grade_error(scores: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of the expected grade, as quadratic kappa counts it.

    The expected grade is the sum of the probabilities. Thresholds without weight count on neither
    side; an eye weighs as much as its heaviest threshold.
    """
    counts = (weights > 0).float()
    distance = ((torch.sigmoid(ordered(scores)) - targets) * counts).sum(dim=1)
    eye_weights = weights.max(dim=1).values
    return (distance.square() * eye_weights).sum() / eye_weights.sum().clamp_min(1.0)
