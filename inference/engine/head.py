"""From the network's raw scores to what a clinic reads.

scores: [b, 4] float32, raw, one per threshold
logits: [b, 4] float32, ordered: P(>=1) >= … >= P(>=4)
"""

import numpy as np

from inference.engine.schemas import REFERABLE_GRADE, VISION_THREATENING_GRADE


def ordered_logits(scores: np.ndarray) -> np.ndarray:
    """Order scores: each is the least of itself and those before it, so the head is monotone."""
    return np.minimum.accumulate(scores, axis=1)


def deciding_thresholds(scores: np.ndarray) -> np.ndarray:
    """Say which raw score each ordered logit is; [b, 4] int. The heatmap explains that one."""
    places = np.arange(scores.shape[1])
    is_least = scores == ordered_logits(scores)
    return np.maximum.accumulate(np.where(is_least, places, 0), axis=1)


def cumulative_probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return calibrated P(>=1) … P(>=4), [b, 4] float64, 0 to 1, never rising."""
    scaled = np.asarray(logits, np.float64) / temperature
    return np.where(
        scaled >= 0,
        1 / (1 + np.exp(-np.abs(scaled))),
        np.exp(-np.abs(scaled)) / (1 + np.exp(-np.abs(scaled))),
    )


def class_probabilities(cumulative: np.ndarray) -> np.ndarray:
    """Return P(grade 0 … 4), [b, 5] float64; each row sums to 1."""
    ends = np.ones((len(cumulative), 1)), np.zeros((len(cumulative), 1))
    edges = np.concatenate([ends[0], cumulative, ends[1]], axis=1)
    return edges[:, :-1] - edges[:, 1:]


def grades_of(cumulative: np.ndarray) -> np.ndarray:
    """Return the grade [b] int: how many thresholds are more likely passed than not."""
    return (cumulative > 0.5).sum(axis=1)


def referable_of(cumulative: np.ndarray) -> np.ndarray:
    """Return P(grade >= 2), [b]."""
    return cumulative[:, REFERABLE_GRADE - 1]


def vision_threatening_of(cumulative: np.ndarray) -> np.ndarray:
    """Return P(grade >= 3), [b]."""
    return cumulative[:, VISION_THREATENING_GRADE - 1]


def decision_edges(
    temperature: float, referable_threshold: float, vision_threatening_threshold: float
) -> np.ndarray:
    """Return the logits at which an ordered logit decides something, [2, 4] float64.

    The first row decides the grade, the second the two flags; infinity decides nothing.
    """
    edges = np.full((2, 4), np.inf)
    edges[0] = 0.0
    for threshold, grade in (
        (referable_threshold, REFERABLE_GRADE),
        (vision_threatening_threshold, VISION_THREATENING_GRADE),
    ):
        if 0 < threshold < 1:
            edges[1, grade - 1] = temperature * np.log(threshold / (1 - threshold))
    return edges


def distances(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Say how far each photograph's ordered logits are from the nearest decision, [b]."""
    logits = ordered_logits(scores)
    return np.abs(logits[:, None, :] - edges[None]).min(axis=(1, 2))
