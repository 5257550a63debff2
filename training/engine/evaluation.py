"""How good a model is: every figure of the card, with its interval, from the weights that serve.

Figures are plain dictionaries, so that they stand in the manifest as they are. Shares have Wilson's
interval; areas, kappa and macro figures one from a bootstrap over patients.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.engine import head
from inference.engine.architectures import GradingNetwork
from inference.engine.artefact import Artefact
from inference.engine.decode import decode_photo
from inference.engine.quality import Verdict, judge_photo
from inference.engine.schemas import (
    REFERABLE_GRADE,
    THRESHOLDS,
    VISION_THREATENING_GRADE,
    Preprocessing,
    QualityGate,
)
from training.engine import metrics
from training.engine.datasets import Eye, load_bands, read_eyes, read_pictures
from training.engine.errors import DataInvalid, TrainingError
from training.engine.predictions import Predictions
from training.engine.recipe import predict_scores

MIN_CLASS = 8  # with fewer eyes on one side an area under the curve is not worth printing
MIN_EYES = 8  # with fewer eyes a kappa or a calibration error is not worth printing
EYE_QUALITIES = ("good", "usable", "reject")


def evaluate_artefact(artefact: Artefact, *, data: Path, cache: Path, split: str) -> Predictions:
    """Let a saved model grade and judge every eye of a split, as it would at a clinic."""
    eyes = eyes_of(read_eyes(data), split)
    manifest = artefact.manifest
    logits = predict_eyes(artefact.network, manifest.preprocessing, eyes, data=data, cache=cache)
    return Predictions(
        eyes=eyes,
        logits=logits,
        temperature=manifest.temperature,
        point=manifest.operating_point,
        verdicts=judge_eyes(eyes, data=data, gate=manifest.quality),
    )


def eyes_of(eyes: Sequence[Eye], split: str) -> list[Eye]:
    """Keep the eyes of a split, graded or not. Raises DataInvalid when none has a grade."""
    chosen = [eye for eye in eyes if eye.split == split]
    if not any(eye.grade is not None for eye in chosen):
        known = ", ".join(sorted({eye.split for eye in eyes})) or "none at all"
        raise DataInvalid(
            f"No graded eyes in the split {split!r}.", f"The labels know these splits: {known}."
        )
    return chosen


def predict_eyes(
    network: GradingNetwork, spec: Preprocessing, eyes: Sequence[Eye], *, data: Path, cache: Path
) -> np.ndarray:
    """Return the ordered logits [n, 4] of eyes; decodes them at the first call.

    Raises TrainingError when one of them is not a number.
    """
    bands = load_bands(eyes, data=data, cache=cache, spec=spec)
    logits = predict_scores(network, spec, bands)
    broken = int((~np.isfinite(logits).all(axis=1)).sum())
    if broken:
        raise TrainingError(
            f"The network gives no number for {broken} of {len(eyes)} eyes.",
            "Its weights are broken: take an earlier checkpoint or model.",
        )
    return logits


def judge_eyes(eyes: Sequence[Eye], *, data: Path, gate: QualityGate) -> dict[str, Verdict]:
    """Ask a model's quality gate about the true-colour photographs; returns verdicts by image."""
    wanted = {eye.image: eye.shard for eye in eyes if eye.true_colour}
    return {
        name: judge_photo(decode_photo(content), gate=gate)
        for name, content in read_pictures(data, set(wanted.values()), set(wanted))
    }


def figures(predictions: Predictions) -> dict[str, Any]:
    """Compute a split's figures: over its true-colour eyes, and by source, camera, quality …

    Eyes that somebody called ungradable count in `by_quality` alone. Raises DataInvalid when no
    eye is left to count.
    """
    counted = predictions.counted
    _check_some(counted.true_colour)
    return {
        **_full_figures(counted.true_colour),
        "by_source": _by(counted, lambda eye: f"{eye.source} {eye.variant}"),
        "by_camera": _by(counted, lambda eye: eye.camera),
        "by_quality": {
            **_by(predictions.true_colour, _gradable_of),
            **_by(counted.true_colour, _quality_of),
        },
        "by_maculopathy": _by(counted.true_colour, _maculopathy_of),
        "quality": quality_figures(predictions),
    }


def _check_some(counted: Predictions) -> None:
    if not len(counted.eyes):
        raise DataInvalid(
            "The split has no graded, gradable eye in true colour.", "Evaluate another split."
        )


def _gradable_of(eye: Eye) -> str:
    if eye.grade is None or eye.gradable is None:
        return ""
    return "called gradable" if eye.gradable else "called ungradable"


def _quality_of(eye: Eye) -> str:
    return "" if eye.eye_quality is None else f"eyeq {EYE_QUALITIES[eye.eye_quality]}"


def _maculopathy_of(eye: Eye) -> str:
    return "" if eye.maculopathy is None else ("yes" if eye.maculopathy else "no")


def _by(predictions: Predictions, name_of: Callable[[Eye], str]) -> dict[str, Any]:
    """Compute the short figures of every named group; eyes without a name stand in none."""
    names = sorted({name_of(eye) for eye in predictions.eyes} - {""})
    return {
        name: _short_figures(predictions.where(lambda eye, n=name: name_of(eye) == n))
        for name in names
    }


def _short_figures(predictions: Predictions) -> dict[str, Any]:
    grades, given = predictions.grades, predictions.given
    counts = metrics.resample(predictions.patients)
    tables = metrics.confusions(grades, given, counts)
    return {
        "eyes": len(grades),
        "patients": len(set(predictions.patients)),
        "eyes_by_grade": [int((grades == grade).sum()) for grade in range(5)],
        "kappa": _kappa(metrics.confusion(grades, given), tables),
        "exact_agreement": share(int((grades == given).sum()), len(grades)),
        "referable": _call_figures(predictions, counts, REFERABLE_GRADE, predictions.referable),
        "vision_threatening": _call_figures(
            predictions, counts, VISION_THREATENING_GRADE, predictions.vision_threatening
        ),
        "referable_calibration_error": {
            "before": _round(_error_of(predictions.uncalibrated, grades)),
            "after": _round(_error_of(predictions.cumulative, grades)),
        },
    }


def _full_figures(predictions: Predictions) -> dict[str, Any]:
    grades = predictions.grades
    counts = metrics.resample(predictions.patients)
    told = _short_figures(predictions) | grade_figures(grades, predictions.given, counts)
    for grade, each in enumerate(told["per_grade"]):
        each |= area(grades == grade, predictions.by_class[:, grade], counts)
    return {
        **told,
        "thresholds": [
            # Logits rank as probabilities do, and do not tie where those round to 1.
            {"at_least": k + 1, **area(grades > k, predictions.logits[:, k], counts)}
            for k in range(THRESHOLDS)
        ],
        "calibration": {
            "referable": _calibration(predictions, REFERABLE_GRADE),
            "vision_threatening": _calibration(predictions, VISION_THREATENING_GRADE),
        },
    }


def grade_figures(grades: np.ndarray, given: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """Compare given grades with reference grades, both [n] int; counts are `resample`'s draws."""
    table = metrics.confusion(grades, given)
    tables = metrics.confusions(grades, given, counts)
    f1s, there_or_given = metrics.f1_of(table), table.sum(axis=0) + table.sum(axis=1)
    return {
        "kappa": _kappa(table, tables),
        "exact_agreement": share(int((grades == given).sum()), len(grades)),
        "confusion": table.tolist(),
        "per_grade": [
            {
                "grade": grade,
                "precision": share(int(table[grade, grade]), int(table[:, grade].sum())),
                "recall": share(int(table[grade, grade]), int(table[grade].sum())),
                "f1": _round(f1s[grade]) if there_or_given[grade] else None,
            }
            for grade in range(5)
        ],
        "macro": {
            name: with_interval(float(metrics.macro_of(of, table)), metrics.macro_of(of, tables))
            for name, of in (
                ("precision", metrics.precision_of),
                ("recall", metrics.recall_of),
                ("f1", metrics.f1_of),
            )
        },
    }


def _kappa(table: np.ndarray, tables: np.ndarray) -> dict[str, Any]:
    return with_interval(_kappa_or_nan(table), metrics.kappa_of(tables))


def _kappa_or_nan(table: np.ndarray) -> float:
    return np.nan if table.sum() < MIN_EYES else float(metrics.kappa_of(table))


def _area_or_nan(positive: np.ndarray, score: np.ndarray) -> float:
    few = min(positive.sum(), (~positive).sum()) < MIN_CLASS
    return np.nan if few else metrics.auc(positive, score)


def _call_figures(
    predictions: Predictions, counts: np.ndarray, grade: int, called: np.ndarray
) -> dict[str, Any]:
    positive = predictions.grades >= grade
    return {
        **area(positive, predictions.logits[:, grade - 1], counts),
        "sensitivity": share(*metrics.sensitivity(positive, called)),
        "specificity": share(*metrics.specificity(positive, called)),
    }


def _calibration(predictions: Predictions, grade: int) -> dict[str, Any]:
    """Say how well the probabilities of one threshold hold, before and after the temperature."""
    positive = predictions.grades >= grade
    before, after = predictions.uncalibrated[:, grade - 1], predictions.cumulative[:, grade - 1]
    return {
        "error": {
            "before": _round(metrics.calibration_error(positive, before)),
            "after": _round(metrics.calibration_error(positive, after)),
        },
        "brier": {
            "before": _round(metrics.brier(positive, before)),
            "after": _round(metrics.brier(positive, after)),
        },
        "bins": {"before": _bins(positive, before), "after": _bins(positive, after)},
    }


def _bins(positive: np.ndarray, probability: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "eyes": count,
            "mean_probability": _round(mean) if count else None,
            "positive": share(round(told * count) if count else 0, count),
        }
        for count, mean, told in metrics.reliability(positive, probability)
    ]


def _error_of(cumulative: np.ndarray, grades: np.ndarray) -> float:
    if len(grades) < MIN_EYES:
        return np.nan
    return metrics.calibration_error(grades >= REFERABLE_GRADE, head.referable_of(cumulative))


def quality_figures(predictions: Predictions) -> dict[str, Any]:
    """Say how often the quality gate rejects, and how well it tells gradable from ungradable."""
    eyes = [eye for eye in predictions.eyes if eye.image in predictions.verdicts]
    verdicts = [predictions.verdicts[eye.image] for eye in eyes]
    rejected = np.array([verdict.quality == "reject" for verdict in verdicts], bool)
    probability = np.array([verdict.gradable_probability for verdict in verdicts])
    gradable = np.array([eye.gradable is True for eye in eyes], bool)
    ungradable = np.array([eye.gradable is False for eye in eyes], bool)
    good = gradable & np.array([eye.eye_quality == 0 for eye in eyes], bool)
    labelled = gradable | ungradable
    known = [eyes[row] for row in np.flatnonzero(labelled)]
    counts = metrics.resample([eye.patient or eye.image for eye in known])
    return {
        "photographs": len(eyes),
        "rejected": share(int(rejected.sum()), len(eyes)),
        "rejected_of_gradable": _share_among(rejected, gradable),
        "rejected_of_good": _share_among(rejected, good),
        "rejected_of_ungradable": _share_among(rejected, ungradable),
        "gradable": area(gradable[labelled], probability[labelled], counts),
    }


def compare_models(mine: Predictions, other: Predictions) -> dict[str, Any]:
    """Subtract another model's figures from this one's, on the same eyes, in the same draws.

    Intervals are of the difference. Raises DataInvalid when the eyes are not the same, or none.
    """
    mine, other = mine.counted.true_colour, other.counted.true_colour
    _check_some(mine)
    if [eye.image for eye in mine.eyes] != [eye.image for eye in other.eyes]:
        raise DataInvalid("The two models graded other eyes.", "Evaluate both on one split.")
    counts, grades = metrics.resample(mine.patients), mine.grades
    told: dict[str, Any] = {"eyes": len(grades)}
    told["kappa"] = _difference(
        *(_kappa_or_nan(metrics.confusion(grades, each.given)) for each in (mine, other)),
        *(
            metrics.kappa_of(metrics.confusions(grades, each.given, counts))
            for each in (mine, other)
        ),
    )
    told["exact_agreement"] = _difference_of_shares(
        grades == mine.given, grades == other.given, counts
    )
    for name, grade in (
        ("referable", REFERABLE_GRADE),
        ("vision_threatening", VISION_THREATENING_GRADE),
    ):
        positive = grades >= grade
        scores = [each.logits[:, grade - 1] for each in (mine, other)]
        calls = [getattr(each, name) for each in (mine, other)]
        told[name] = {
            "auc": _difference(
                *(_area_or_nan(positive, score) for score in scores),
                *(metrics.aucs(positive, score, counts) for score in scores),
            ),
            "sensitivity": _difference_of_shares(
                *(call[positive] for call in calls), counts[:, positive]
            ),
            "specificity": _difference_of_shares(
                *(~call[~positive] for call in calls), counts[:, ~positive]
            ),
        }
    return told


def _difference_of_shares(
    mine: np.ndarray, other: np.ndarray, counts: np.ndarray
) -> dict[str, Any]:
    if not len(mine):
        return _difference(np.nan, np.nan, np.array([]), np.array([]))
    drawn = np.maximum(counts.sum(axis=1), 1)
    return _difference(mine.mean(), other.mean(), (counts @ mine) / drawn, (counts @ other) / drawn)


def _difference(
    mine: float, other: float, mine_drawn: np.ndarray, other_drawn: np.ndarray
) -> dict[str, Any]:
    return {
        "here": _round(mine),
        "there": _round(other),
        **with_interval(mine - other, mine_drawn - other_drawn),
    }


def area(positive: np.ndarray, score: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """Report an area under the ROC curve with its interval, or None with too few on one side."""
    sides = {"positives": int(positive.sum()), "negatives": int((~positive).sum())}
    value = _area_or_nan(positive, score)
    if np.isnan(value):
        return {**sides, "auc": None}
    return {**sides, "auc": with_interval(value, metrics.aucs(positive, score, counts))}


def share(hits: int, total: int) -> dict[str, Any]:
    """Report a share with Wilson's interval; its value is None when nothing was counted."""
    low, high = metrics.wilson(hits, total)
    return {
        "value": _round(hits / total) if total else None,
        "low": _round(low),
        "high": _round(high),
        "hits": hits,
        "total": total,
    }


def _share_among(rejected: np.ndarray, group: np.ndarray) -> dict[str, Any]:
    return share(int((rejected & group).sum()), int(group.sum()))


def with_interval(value: float, drawn: np.ndarray) -> dict[str, Any]:
    """Report a figure with the middle 95 % of its draws; None where it is undefined."""
    low, high = metrics.interval(drawn) if np.isfinite(value) else (np.nan, np.nan)
    return {"value": _round(value), "low": _round(low), "high": _round(high)}


def _round(value: float) -> float | None:
    """Round to four digits; an undefined figure is None, as JSON knows no NaN."""
    return round(float(value), 4) if np.isfinite(value) else None
