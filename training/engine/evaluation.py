"""How good a model is: every figure of the card, with its interval, from the weights that serve.

Figures are plain dictionaries, so that they stand in the manifest as they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.engine import head
from inference.engine.architectures import GradingNetwork
from inference.engine.artefact import Artefact
from inference.engine.decode import decode_photo
from inference.engine.quality import judge_photo
from inference.engine.schemas import OperatingPoint, Preprocessing
from training.engine import metrics
from training.engine.datasets import Eye, graded, load_bands, read_eyes, read_pictures
from training.engine.errors import DataInvalid
from training.engine.recipe import predict_scores

MIN_CLASS = 8  # with fewer eyes on one side an area under the curve is not worth printing


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model said about a split: eyes and their ordered logits [n, 4], row by row."""

    eyes: Sequence[Eye]
    logits: np.ndarray

    @property
    def grades(self) -> np.ndarray:
        """Reference grades [n] int."""
        return np.array([eye.grade for eye in self.eyes])

    @property
    def true_colour(self) -> "Predictions":
        """Keep the eyes that look as those that clinics upload."""
        return self.where(lambda eye: eye.true_colour)

    def where(self, keep: Callable[[Eye], bool]) -> "Predictions":
        """Keep some of the eyes."""
        rows = [row for row, eye in enumerate(self.eyes) if keep(eye)]
        return Predictions(eyes=[self.eyes[row] for row in rows], logits=self.logits[rows])


def evaluate_artefact(artefact: Artefact, *, data: Path, cache: Path, split: str) -> dict[str, Any]:
    """Evaluate a saved model on a split. Returns the figures that its card shows."""
    predictions = predict_split(
        artefact.network, artefact.manifest.preprocessing, data=data, cache=cache, split=split
    )
    return figures(
        predictions,
        temperature=artefact.manifest.temperature,
        point=artefact.manifest.operating_point,
    ) | {"quality": quality_figures(data, split)}


def predict_split(
    network: GradingNetwork, spec: Preprocessing, *, data: Path, cache: Path, split: str
) -> Predictions:
    """Score the graded eyes of a split. Raises DataInvalid when there are none."""
    eyes = graded(read_eyes(data), split)
    if not eyes:
        raise DataInvalid(f"No graded eyes in the split {split!r}.", "Use val or second_site.")
    bands = load_bands(eyes, data=data, cache=cache, spec=spec)
    return Predictions(eyes=eyes, logits=predict_scores(network, spec, bands))


def figures(
    predictions: Predictions, *, temperature: float, point: OperatingPoint
) -> dict[str, Any]:
    """Compute a split's figures: over its true-colour eyes, by source, and by camera."""
    whole = _figures_of(predictions.true_colour, temperature, point)
    sources = sorted({f"{eye.source} {eye.variant}" for eye in predictions.eyes})
    cameras = sorted({eye.camera for eye in predictions.eyes if eye.camera})
    whole["by_source"] = {
        name: _figures_of(
            predictions.where(lambda eye, n=name: f"{eye.source} {eye.variant}" == n),
            temperature,
            point,
        )
        for name in sources
    }
    whole["by_camera"] = {
        name: _referable_auc(predictions.where(lambda eye, n=name: eye.camera == n))
        for name in cameras
    }
    return whole


def _figures_of(
    predictions: Predictions, temperature: float, point: OperatingPoint
) -> dict[str, Any]:
    grades = predictions.grades
    raw = head.cumulative_probabilities(predictions.logits, 1.0)
    cumulative = head.cumulative_probabilities(predictions.logits, temperature)
    given = head.grades_of(cumulative)
    referable = head.referable_of(cumulative)
    threatening = head.vision_threatening_of(cumulative)
    return {
        "eyes": len(grades),
        "eyes_by_grade": [int((grades == grade).sum()) for grade in range(5)],
        "kappa": _with_interval(metrics.quadratic_kappa, grades, given),
        "exact_agreement": _share(int((grades == given).sum()), len(grades)),
        "referable": {
            **_referable_auc(predictions),
            **_rates(grades >= 2, referable >= point.referable_threshold),
        },
        "vision_threatening": {
            **_auc_of(grades >= 3, predictions.logits[:, 2]),
            **_rates(grades >= 3, threatening >= point.vision_threatening_threshold),
        },
        "referable_calibration_error": {
            "before": _round(metrics.calibration_error(grades >= 2, head.referable_of(raw))),
            "after": _round(metrics.calibration_error(grades >= 2, referable)),
        },
    }


def quality_figures(data: Path, split: str) -> dict[str, Any]:
    """Judge the split's true-colour photographs with the quality gate."""
    eyes = {eye.image: eye for eye in read_eyes(data) if eye.split == split and eye.true_colour}
    shards = {eye.shard for eye in eyes.values()}
    names, verdicts = [], []
    for name, content in read_pictures(data, shards, set(eyes)):
        names.append(name)
        verdicts.append(judge_photo(decode_photo(content)))
    rejected = np.array([verdict.quality == "reject" for verdict in verdicts])
    probability = np.array([verdict.gradable_probability for verdict in verdicts])
    gradable = np.array([eyes[name].gradable for name in names], dtype=object)
    good = np.array([bool(eyes[name].gradable) and eyes[name].eye_quality == 0 for name in names])
    labelled = np.array([value is not None for value in gradable])
    told = gradable[labelled].astype(bool)
    return {
        "photographs": len(names),
        "rejected": _share(int(rejected.sum()), len(names)),
        "rejected_of_gradable": _share(int(rejected[labelled][told].sum()), int(told.sum())),
        "rejected_of_good": _share(int(rejected[good].sum()), int(good.sum())),
        "rejected_of_ungradable": _share(int(rejected[labelled][~told].sum()), int((~told).sum())),
        "gradable": _auc_of(told, probability[labelled]),
    }


def _referable_auc(predictions: Predictions) -> dict[str, Any]:
    # Logits rank as probabilities do, and do not tie where those round to 1.
    return _auc_of(predictions.grades >= 2, predictions.logits[:, 1])


def _auc_of(positive: np.ndarray, score: np.ndarray) -> dict[str, Any]:
    counts = {"positives": int(positive.sum()), "negatives": int((~positive).sum())}
    if min(counts.values()) < MIN_CLASS:
        return {**counts, "auc": None}
    return {**counts, "auc": _with_interval(metrics.auc, positive, score)}


def _rates(positive: np.ndarray, called: np.ndarray) -> dict[str, Any]:
    return {
        "sensitivity": _share(*metrics.sensitivity(positive, called)),
        "specificity": _share(*metrics.specificity(positive, called)),
    }


def _share(hits: int, total: int) -> dict[str, Any]:
    low, high = metrics.wilson(hits, total)
    value = hits / total if total else None
    return {
        "value": None if value is None else _round(value),
        "low": _round(low),
        "high": _round(high),
        "hits": hits,
        "total": total,
    }


def _with_interval(figure: Callable[..., float], *columns: np.ndarray) -> dict[str, float]:
    low, high = metrics.bootstrap(figure, *columns)
    return {"value": _round(figure(*columns)), "low": _round(low), "high": _round(high)}


def _round(value: float) -> float:
    return round(float(value), 4)
