"""Fit the temperature and the operating point, on val and nowhere else.

logits:      [n, 4] float, ordered
probability: [n] float, 0 to 1
"""

import numpy as np
from scipy import optimize

from inference.engine import head
from inference.engine.schemas import THRESHOLDS, OperatingPoint
from training.engine.datasets import check_tuning_split

TEMPERATURE_RANGE = (0.25, 8.0)


def fit_temperature(logits: np.ndarray, grades: np.ndarray, *, split: str) -> float:
    """Return the temperature that makes the probabilities likeliest. Raises SplitForbidden."""
    check_tuning_split(split)
    above = grades[:, None] > np.arange(THRESHOLDS)[None, :]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.logaddexp(0, np.where(above, -scaled, scaled)).mean())

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
    """Choose the highest thresholds that still reach the sensitivities. Raises SplitForbidden."""
    check_tuning_split(split)
    cumulative = head.cumulative_probabilities(logits, temperature)
    return OperatingPoint(
        version=version,
        referable_threshold=_threshold(
            head.referable_of(cumulative)[grades >= 2], referable_target
        ),
        vision_threatening_threshold=_threshold(
            head.vision_threatening_of(cumulative)[grades >= 3], vision_threatening_target
        ),
        referable_sensitivity_target=referable_target,
        vision_threatening_sensitivity_target=vision_threatening_target,
        chosen_on=f"{len(grades)} true-colour eyes of {split}",
    )


def _threshold(probabilities: np.ndarray, sensitivity: float) -> float:
    """Return the highest threshold that calls at least that share of the positives."""
    ranked = np.sort(probabilities)[::-1]
    needed = int(np.ceil(sensitivity * len(ranked) - 1e-9))
    return float(np.floor(ranked[needed - 1] * 1e6) / 1e6)
