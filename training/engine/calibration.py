"""Fit offsets, the temperature and the operating point, on val and nowhere else.

logits:      [n, 4] float, ordered
probability: [n] float, 0 to 1
"""

import numpy as np
from scipy import optimize

from inference.engine import head
from inference.engine.schemas import (
    REFERABLE_GRADE,
    THRESHOLDS,
    VISION_THREATENING_GRADE,
    OperatingPoint,
)
from training.engine.datasets import check_tuning_split
from training.engine.errors import DataInvalid

TEMPERATURE_RANGE = (0.25, 8.0)
# How strongly offsets are held at zero. Chosen by repeated five-fold cross-validation within val:
# with no offsets, kappa, agreement and likelihood are worse; from 1 to 20 they hardly change.
OFFSET_PENALTY = 3.0
# Of probability, below the last eye that has to be called: another machine adds in another order.
THRESHOLD_MARGIN = 1e-3


def fit_offsets(logits: np.ndarray, grades: np.ndarray, *, split: str) -> np.ndarray:
    """Return what to add to each of the four scores, [4], to make the grades likeliest.

    Training on balanced batches and painted lesions moves the thresholds; this moves them back.
    Found together with a temperature, which is fitted anew once the offsets are in the weights.
    Raises SplitForbidden.
    """
    check_tuning_split(split)
    above = _above(grades)

    def loss(log_temperature_and_shifts: np.ndarray) -> float:
        temperature, shifts = np.exp(log_temperature_and_shifts[0]), log_temperature_and_shifts[1:]
        scaled = logits / temperature + shifts
        return _negative_log_likelihood(scaled, above) + OFFSET_PENALTY * float((shifts**2).sum())

    bounds = [tuple(np.log(TEMPERATURE_RANGE)), *[(-6.0, 6.0)] * THRESHOLDS]
    found = optimize.minimize(loss, np.zeros(1 + THRESHOLDS), method="L-BFGS-B", bounds=bounds)
    return np.round(np.exp(found.x[0]) * found.x[1:], 4)


def fit_temperature(logits: np.ndarray, grades: np.ndarray, *, split: str) -> float:
    """Return the temperature that makes the probabilities likeliest. Raises SplitForbidden."""
    check_tuning_split(split)
    above = _above(grades)

    def loss(log_temperature: float) -> float:
        return _negative_log_likelihood(logits / np.exp(log_temperature), above)

    bounds = tuple(np.log(TEMPERATURE_RANGE))
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    return round(float(np.exp(found.x)), 4)


def choose_operating_point(
    logits: np.ndarray,
    grades: np.ndarray,
    *,
    temperature: float,
    split: str,
    referable_target: float,
    vision_threatening_target: float,
    version: str,
) -> OperatingPoint:
    """Choose the highest thresholds that still reach the sensitivities.

    Raises SplitForbidden, and DataInvalid when the split shows no eye with the disease.
    """
    check_tuning_split(split)
    if not (grades >= VISION_THREATENING_GRADE).any():
        raise DataInvalid(
            f"{split} has no true-colour eye of grade {VISION_THREATENING_GRADE} or more, so no "
            "threshold can be chosen.",
            "Split a larger set, or give val a larger share.",
        )
    cumulative = head.cumulative_probabilities(logits, temperature)
    return OperatingPoint(
        version=version,
        referable_threshold=_threshold(
            head.referable_of(cumulative)[grades >= REFERABLE_GRADE], referable_target
        ),
        vision_threatening_threshold=_threshold(
            head.vision_threatening_of(cumulative)[grades >= VISION_THREATENING_GRADE],
            vision_threatening_target,
        ),
        referable_sensitivity_target=referable_target,
        vision_threatening_sensitivity_target=vision_threatening_target,
        chosen_on=f"{len(grades)} true-colour eyes of {split}",
    )


def _above(grades: np.ndarray) -> np.ndarray:
    """Say which thresholds each eye is above, [n, 4] bool."""
    return grades[:, None] > np.arange(THRESHOLDS)[None, :]


def _negative_log_likelihood(logits: np.ndarray, above: np.ndarray) -> float:
    return float(np.logaddexp(0, np.where(above, -logits, logits)).sum())


def _threshold(probabilities: np.ndarray, sensitivity: float) -> float:
    """Return the highest threshold, less a margin, that calls that share of the positives."""
    ranked = np.sort(probabilities)[::-1]
    needed = int(np.ceil(sensitivity * len(ranked) - 1e-9))
    return float(np.floor(max(ranked[needed - 1] - THRESHOLD_MARGIN, 0.0) * 1e6) / 1e6)
