"""Fit the quality gate: its learned score on train, its limits and threshold on train and val.

The limits are presets that are loosened until the eyes labelled good and gradable pass. The score
is a logistic regression on what `inference.engine.quality_measures` describes, with squares.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import optimize

from inference.engine.decode import decode_photo
from inference.engine.quality import gradable_probability, judge, judge_photo
from inference.engine.quality_measures import Measures, measure
from inference.engine.schemas import FeatureWeight, QualityGate, QualityLimit
from training.engine import metrics
from training.engine.datasets import Eye, check_tuning_split, read_eyes, read_pictures
from training.engine.degrading import DEGRADATIONS, EXPECTED_REASON, degrade
from training.engine.errors import DataInvalid

GATE_VERSION = "quality-2"
LIMITS = (
    *QualityGate().limits,
    QualityLimit(measure="filled", sign=-1, usable=0.70, reject=0.66, reason="field_cut"),
    QualityLimit(measure="width", sign=-1, usable=0.85, reject=0.75, reason="field_cut"),
)
HAZY_SHARPNESS = 0.28  # read off 34 spoilt eyes of train and val: blurred to 0.27, hazy from 0.30
MIN_UNGRADABLE = 30  # with fewer the first gate's score is better than one fitted on them
REJECTED_OF_GOOD = 0.01
DOUBTED_OF_GRADABLE = 0.05
RIDGE = 300.0  # chosen by cross-validation on train
REACH = 3.0
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A labelled eye and what was measured on it."""

    eye: Eye
    measures: Measures


def fit_gate(data: Path, *, splits: tuple[str, ...] = ("train", "val")) -> QualityGate:
    """Fit the gate that a model is shipped with. Raises SplitForbidden.

    Without enough eyes called ungradable in train, the first gate's score stays.
    """
    judged = measure_eyes(data, splits)
    return fit_gate_on(judged)


def measure_eyes(data: Path, splits: Sequence[str]) -> list[Judged]:
    """Measure the true-colour eyes that somebody called gradable or not. Raises SplitForbidden."""
    for split in splits:
        check_tuning_split(split)
    eyes = {eye.image: eye for eye in _labelled(data) if eye.split in splits}
    shards = {eye.shard for eye in eyes.values()}
    return [
        Judged(eye=eyes[name], measures=measure(decode_photo(content)))
        for name, content in read_pictures(data, shards, set(eyes))
    ]


def fit_gate_on(judged: Sequence[Judged]) -> QualityGate:
    """Fit the gate on measured eyes of train and val."""
    train = [each for each in judged if each.eye.split == "train"]
    gate = replace(
        QualityGate(),
        version=GATE_VERSION,
        limits=loosened([each.measures for each in judged if is_good(each.eye)]),
        hazy_sharpness=HAZY_SHARPNESS,
        fitted_on=f"{len(train)} eyes of train; limits and threshold with "
        f"{len(judged) - len(train)} eyes of val",
    )
    if sum(not each.eye.gradable for each in train) >= MIN_UNGRADABLE:
        gate = fit_score(gate, train)
    kept = [each for each in judged if each.eye.gradable and each.eye.split == "val"]
    if not kept:
        return gate
    chances = [gradable_probability(each.measures, gate) for each in kept]
    return replace(
        gate, doubtful_probability=round(float(np.quantile(chances, DOUBTED_OF_GRADABLE)), 4)
    )


def loosened(good: Sequence[Measures]) -> tuple[QualityLimit, ...]:
    """Loosen the limits until together they reject at most a hundredth of the good eyes."""
    if not good:
        return LIMITS
    share = REJECTED_OF_GOOD / len(LIMITS)
    return tuple(_loosened(limit, good, share) for limit in LIMITS)


def _loosened(limit: QualityLimit, good: Sequence[Measures], share: float) -> QualityLimit:
    signed = [limit.sign * getattr(measures, limit.measure) for measures in good]
    worst = float(np.quantile(signed, 1 - share, method="higher"))
    if worst <= limit.sign * limit.reject:
        return limit
    # Rounded outwards, or the very eye that the limit was loosened for would be rejected.
    reject = limit.sign * math.ceil(worst * 1e5) / 1e5
    usable = limit.sign * min(limit.sign * limit.usable, limit.sign * reject)
    return replace(limit, reject=reject, usable=round(usable, 5))


def fit_score(gate: QualityGate, judged: Sequence[Judged]) -> QualityGate:
    """Replace the gate's learned score by one fitted on these eyes."""
    names = sorted(judged[0].measures.features)
    table = np.array([[each.measures.features[name] for name in names] for each in judged])
    centre, spread = table.mean(axis=0), np.maximum(table.std(axis=0), 1e-6)
    place = np.clip((table - centre) / spread, -REACH, REACH)
    gradable = np.array([bool(each.eye.gradable) for each in judged])
    found = _logistic(np.c_[place, place**2], gradable)
    linear, square = np.split(found[1:], 2)
    columns = zip(names, centre, spread, linear, square, strict=True)
    return replace(
        gate,
        intercept=round(float(found[0]), 6),
        feature_reach=REACH,
        weights={
            name: FeatureWeight(
                centre=round(float(c), 6),
                spread=round(float(s), 6),
                linear=round(float(w), 6),
                square=round(float(q), 6),
            )
            for name, c, s, w, q in columns
        },
    )


def _logistic(design: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Fit intercept and slopes with a ridge on the slopes; design: [n, k]."""
    padded = np.c_[np.ones(len(design)), design]
    sign = np.where(positive, 1.0, -1.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (padded @ weights)
        slopes = np.r_[0.0, weights[1:]]
        slope = -(sign / (1 + np.exp(np.clip(margin, -50, 50)))) @ padded + RIDGE * slopes
        return float(np.logaddexp(0, -margin).sum() + RIDGE / 2 * slopes @ slopes), slope

    return optimize.minimize(loss, np.zeros(padded.shape[1]), jac=True, method="L-BFGS-B").x


def cross_validated_area(judged: Sequence[Judged]) -> float:
    """Return the learned score's area on train, each eye judged by a fit without its patient.

    NaN with fewer patients than folds.
    """
    patients = sorted({each.eye.patient for each in judged})
    if len(patients) < FOLDS:
        return math.nan
    order = np.random.default_rng(1).permutation(len(patients))
    fold_of = {patients[place]: rank % FOLDS for rank, place in enumerate(order)}
    folds = np.array([fold_of[each.eye.patient] for each in judged])
    chances = np.zeros(len(judged))
    for fold in range(FOLDS):
        gate = fit_score(QualityGate(), [judged[place] for place in np.flatnonzero(folds != fold)])
        for place in np.flatnonzero(folds == fold):
            chances[place] = gradable_probability(judged[place].measures, gate)
    return metrics.auc(np.array([bool(each.eye.gradable) for each in judged]), chances)


def gate_figures(gate: QualityGate, judged: Sequence[Judged]) -> dict[str, object]:
    """Count what the gate does to labelled eyes; the area with its 95 % interval over patients."""
    if not judged:
        raise DataInvalid("No eye is labelled gradable or not.", "Fill the column gradable.")
    verdicts = [judge(each.measures, gate) for each in judged]
    gradable = np.array([bool(each.eye.gradable) for each in judged])
    good = np.array([is_good(each.eye) for each in judged])
    rejected = np.array([verdict.quality == "reject" for verdict in verdicts])
    usable = np.array([verdict.quality == "usable" for verdict in verdicts])
    chances = np.array([verdict.gradable_probability for verdict in verdicts])
    counts = metrics.resample([each.eye.patient for each in judged])
    low, high = metrics.interval(metrics.aucs(gradable, chances, counts))
    return {
        "eyes": len(judged),
        "ungradable": int((~gradable).sum()),
        "auc": (metrics.auc(gradable, chances), low, high),
        "rejected_of_good": (int((rejected & good).sum()), int(good.sum())),
        "rejected_of_gradable": (int((rejected & gradable).sum()), int(gradable.sum())),
        "rejected_of_ungradable": (int((rejected & ~gradable).sum()), int((~gradable).sum())),
        "usable_of_gradable": (int((usable & gradable).sum()), int(gradable.sum())),
        "usable_of_ungradable": (int((usable & ~gradable).sum()), int((~gradable).sum())),
    }


def caught_degradations(
    gate: QualityGate, data: Path, *, split: str, eyes: int
) -> dict[str, tuple[int, int]]:
    """Spoil good eyes of a split in each known way, count rejections with the right reason first.

    Raises SplitForbidden.
    """
    check_tuning_split(split)
    good = [eye for eye in _labelled(data) if eye.split == split and is_good(eye)][:eyes]
    pictures = read_pictures(data, {eye.shard for eye in good}, {eye.image for eye in good})
    photos = [decode_photo(content) for _, content in pictures]
    told = {}
    for name in DEGRADATIONS:
        verdicts = [
            judge_photo(degrade(photo, name, seed=seed), gate=gate)
            for seed, photo in enumerate(photos)
        ]
        expected = EXPECTED_REASON[name]
        caught = [v.quality == "reject" and v.reasons[0] == expected for v in verdicts]
        told[name] = (sum(caught), len(caught))
    return told


def is_good(eye: Eye) -> bool:
    """Say whether readers called the eye both gradable and of good quality."""
    return bool(eye.gradable) and eye.eye_quality == 0


def _labelled(data: Path) -> list[Eye]:
    return [eye for eye in read_eyes(data) if eye.true_colour and eye.gradable is not None]
