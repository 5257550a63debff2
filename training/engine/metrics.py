"""The figures a model is judged by, each small enough to check by hand."""

from collections.abc import Callable

import numpy as np
from scipy import stats


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve; positive: [n] bool, score: [n]. NaN with only one class."""
    positive = np.asarray(positive, bool)
    count, rest = int(positive.sum()), int((~positive).sum())
    if count == 0 or rest == 0:
        return float("nan")
    ranks = stats.rankdata(score)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * rest))


def quadratic_kappa(truth: np.ndarray, given: np.ndarray, *, classes: int = 5) -> float:
    """Cohen's kappa with quadratic weights; truth, given: [n] int, 0 to classes - 1."""
    table = np.zeros((classes, classes))
    np.add.at(table, (np.asarray(truth), np.asarray(given)), 1)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(table.sum(), 1)
    places = np.arange(classes)
    cost = (places[:, None] - places[None, :]) ** 2
    chance = (cost * expected).sum()
    return float(1 - (cost * table).sum() / chance) if chance else float("nan")


def wilson(hits: int, total: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share; (0, 1) when nothing was counted."""
    if total == 0:
        return 0.0, 1.0
    z = float(stats.norm.ppf(0.5 + level / 2))
    share = hits / total
    centre = share + z * z / (2 * total)
    reach = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return float(max(0.0, (centre - reach) / scale)), float(min(1.0, (centre + reach) / scale))


def bootstrap(
    figure: Callable[..., float], *columns: np.ndarray, draws: int = 1000, seed: int = 1
) -> tuple[float, float]:
    """95 % interval of a figure of aligned columns, by drawing eyes with replacement."""
    random = np.random.default_rng(seed)
    n = len(columns[0])
    values = []
    for _ in range(draws):
        chosen = random.integers(0, n, n)
        values.append(figure(*(column[chosen] for column in columns)))
    low, high = np.nanquantile(values, (0.025, 0.975))
    return float(low), float(high)


def sensitivity(positive: np.ndarray, called: np.ndarray) -> tuple[int, int]:
    """Count the positives that were called, and all positives."""
    return int((positive & called).sum()), int(positive.sum())


def specificity(positive: np.ndarray, called: np.ndarray) -> tuple[int, int]:
    """Count the negatives that were left alone, and all negatives."""
    return int((~positive & ~called).sum()), int((~positive).sum())


def calibration_error(positive: np.ndarray, probability: np.ndarray, *, bins: int = 10) -> float:
    """Expected calibration error over equally wide bins of probability, 0 to 1."""
    place = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    error = 0.0
    for each in range(bins):
        inside = place == each
        if inside.any():
            gap = abs(float(np.mean(positive[inside])) - float(np.mean(probability[inside])))
            error += gap * inside.mean()
    return float(error)
