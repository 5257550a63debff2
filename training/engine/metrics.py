"""The figures a model is judged by, each small enough to check by hand.

Intervals of areas and kappas come from a bootstrap over patients: `resample` draws them once, and
every figure is then computed for all draws together.

positive, called: [n] bool
counts:           [draws, n] how often a row counts in a draw
table:            [..., classes, classes] counts; rows are the reference, columns what was given
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

DRAWS = 1000


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve; positive: [n] bool, score: [n]. NaN with only one class."""
    return float(aucs(positive, score, np.ones((1, len(score))))[0])


def aucs(positive: np.ndarray, score: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every draw, [draws]; ties count half (Mann and Whitney)."""
    positive, score = np.asarray(positive, bool), np.asarray(score)
    order = np.argsort(score, kind="stable")
    tied_from = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)
    drawn, right = counts[:, order].astype(np.float64), positive[order]
    above = np.add.reduceat(drawn * right, tied_from, axis=1)
    below = np.add.reduceat(drawn * ~right, tied_from, axis=1)
    won = (above * (np.cumsum(below, axis=1) - below / 2)).sum(axis=1)
    pairs = above.sum(axis=1) * below.sum(axis=1)
    return np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)


def confusion(truth: np.ndarray, given: np.ndarray, *, classes: int = 5) -> np.ndarray:
    """Count reference against given, [classes, classes] int."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (np.asarray(truth, int), np.asarray(given, int)), 1)
    return table


def confusions(
    truth: np.ndarray, given: np.ndarray, counts: np.ndarray, *, classes: int = 5
) -> np.ndarray:
    """Count reference against given in every draw, [draws, classes, classes] float64."""
    cells = np.eye(classes * classes)[np.asarray(truth, int) * classes + np.asarray(given, int)]
    return (counts @ cells).reshape(-1, classes, classes)


def kappa_of(table: np.ndarray) -> np.ndarray:
    """Cohen's kappa with quadratic weights, of one table or of many. NaN without variety."""
    table = np.asarray(table, np.float64)
    places = np.arange(table.shape[-1])
    cost = (places[:, None] - places[None, :]) ** 2
    total = np.maximum(table.sum(axis=(-2, -1), keepdims=True), 1)
    expected = table.sum(axis=-1, keepdims=True) * table.sum(axis=-2, keepdims=True) / total
    chance = (cost * expected).sum(axis=(-2, -1))
    missed = (cost * table).sum(axis=(-2, -1))
    share = np.divide(missed, chance, out=np.full(np.shape(chance), np.nan), where=chance > 0)
    return 1 - share


def quadratic_kappa(truth: np.ndarray, given: np.ndarray, *, classes: int = 5) -> float:
    """Cohen's kappa with quadratic weights; truth, given: [n] int, 0 to classes - 1."""
    return float(kappa_of(confusion(truth, given, classes=classes)))


def f1_of(table: np.ndarray) -> np.ndarray:
    """F1 of every class, [..., classes]; 0 when it was neither there nor given."""
    hits = np.diagonal(table, axis1=-2, axis2=-1)
    told = np.sum(table, axis=-1) + np.sum(table, axis=-2)
    return np.divide(2.0 * hits, told, out=np.zeros(np.shape(hits)), where=told > 0)


def precision_of(table: np.ndarray) -> np.ndarray:
    """Precision of every class, [..., classes]; 0 when it was never given."""
    return _share_of(np.diagonal(table, axis1=-2, axis2=-1), np.sum(table, axis=-2))


def recall_of(table: np.ndarray) -> np.ndarray:
    """Recall of every class, [..., classes]; 0 when it was never there."""
    return _share_of(np.diagonal(table, axis1=-2, axis2=-1), np.sum(table, axis=-1))


def macro_of(figure: Callable[[np.ndarray], np.ndarray], table: np.ndarray) -> np.ndarray:
    """Mean of a figure over the classes that were there or given, of one table or of many."""
    known = np.sum(table, axis=-1) + np.sum(table, axis=-2) > 0
    return _mean_of((figure(table) * known).sum(axis=-1), known.sum(axis=-1))


def _share_of(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(hits, total, out=np.zeros(np.shape(hits)), where=total > 0)


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


def resample(groups: Sequence[str], *, draws: int = DRAWS, seed: int = 1) -> np.ndarray:
    """Draw whole groups with replacement; returns counts [draws, n] int32.

    Two eyes of a patient are alike: drawing them apart would make every interval too narrow.
    """
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    many = place.max(initial=-1) + 1
    random = np.random.default_rng(seed)
    counts = np.zeros((draws, many), np.int32)
    for row in counts:
        row += np.bincount(random.integers(0, many, many), minlength=many).astype(np.int32)
    return counts[:, place]


def interval(values: np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """Middle 95 % of a figure over the draws; draws in which it is undefined don't count."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, (0.5 - level / 2, 0.5 + level / 2))
    return float(low), float(high)


def sensitivity(positive: np.ndarray, called: np.ndarray) -> tuple[int, int]:
    """Count the positives that were called, and all positives."""
    return int((positive & called).sum()), int(positive.sum())


def specificity(positive: np.ndarray, called: np.ndarray) -> tuple[int, int]:
    """Count the negatives that were left alone, and all negatives."""
    return int((~positive & ~called).sum()), int((~positive).sum())


def reliability(
    positive: np.ndarray, probability: np.ndarray, *, bins: int = 10
) -> list[tuple[int, float, float]]:
    """Say of each equally wide bin of probability: eyes, mean probability, share of positives.

    Empty bins have a mean and a share of NaN.
    """
    positive, probability = np.asarray(positive, bool), np.asarray(probability, np.float64)
    place = np.minimum((probability * bins).astype(int), bins - 1)
    inside = np.bincount(place, minlength=bins)
    means = _mean_of(np.bincount(place, probability, minlength=bins), inside)
    shares = _mean_of(np.bincount(place, positive, minlength=bins), inside)
    return list(zip(inside.tolist(), means.tolist(), shares.tolist(), strict=True))


def _mean_of(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.divide(total, count, out=np.full(np.shape(count), np.nan), where=count > 0)


def calibration_error(positive: np.ndarray, probability: np.ndarray, *, bins: int = 10) -> float:
    """Expected calibration error over equally wide bins of probability, 0 to 1."""
    told = [each for each in reliability(positive, probability, bins=bins) if each[0]]
    total = sum(count for count, _, _ in told)
    return float(sum(count * abs(share - mean) for count, mean, share in told) / max(total, 1))


def brier(positive: np.ndarray, probability: np.ndarray) -> float:
    """Mean squared distance of probability and truth; 0 is perfect, 0.25 is always saying half."""
    gap = np.asarray(probability, np.float64) - np.asarray(positive, bool)
    return float(np.mean(gap**2))
