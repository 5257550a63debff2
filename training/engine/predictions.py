"""What a model said about labelled eyes, row by row, and the table from which figures come again.

logits: [n, 4] float, ordered
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from inference.engine import head
from inference.engine.quality import Verdict
from inference.engine.schemas import OperatingPoint
from training.engine.datasets import Eye

COLUMNS = (
    "image",
    "source",
    "variant",
    "camera",
    "split",
    "patient",
    "grade",
    "gradable",
    "eyeq",
    "maculopathy",
    "counted",
    *(f"logit_{k}" for k in range(1, 5)),
    *(f"probability_at_least_{k}" for k in range(1, 5)),
    *(f"probability_{k}" for k in range(5)),
    "given_grade",
    "referable_probability",
    "vision_threatening_probability",
    "referable",
    "vision_threatening",
    "gate_quality",
    "gate_gradable_probability",
)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Eyes and what a model with its temperature and operating point said about each.

    `verdicts` holds the quality gate's verdicts by image, where the gate was asked.
    """

    eyes: Sequence[Eye]
    logits: np.ndarray
    temperature: float
    point: OperatingPoint
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def counted(self) -> "Predictions":
        """Keep the eyes that figures are about: graded, and never called ungradable."""
        return self.where(_is_counted)

    @property
    def true_colour(self) -> "Predictions":
        """Keep the eyes that look as those that clinics upload."""
        return self.where(lambda eye: eye.true_colour)

    def where(self, keep: Callable[[Eye], bool]) -> "Predictions":
        """Keep some of the eyes."""
        rows = [row for row, eye in enumerate(self.eyes) if keep(eye)]
        return replace(self, eyes=[self.eyes[row] for row in rows], logits=self.logits[rows])

    @property
    def patients(self) -> list[str]:
        """Name the patient of each eye; an eye without one is its own."""
        return [eye.patient or eye.image for eye in self.eyes]

    @cached_property
    def grades(self) -> np.ndarray:
        """Reference grades [n] int; every eye has to have one."""
        return np.array([eye.grade for eye in self.eyes], int)

    @cached_property
    def uncalibrated(self) -> np.ndarray:
        """P(>=1) … P(>=4) as they would be without the temperature, [n, 4]."""
        return head.cumulative_probabilities(self.logits, 1.0)

    @cached_property
    def cumulative(self) -> np.ndarray:
        """P(>=1) … P(>=4) as they are served, [n, 4]."""
        return head.cumulative_probabilities(self.logits, self.temperature)

    @cached_property
    def by_class(self) -> np.ndarray:
        """P(grade 0 … 4), [n, 5]."""
        return head.class_probabilities(self.cumulative)

    @cached_property
    def given(self) -> np.ndarray:
        """Grades that the model gives, [n] int."""
        return head.grades_of(self.cumulative)

    @cached_property
    def referable(self) -> np.ndarray:
        """Say which eyes the model calls referable, [n] bool."""
        return head.referable_of(self.cumulative) >= self.point.referable_threshold

    @cached_property
    def vision_threatening(self) -> np.ndarray:
        """Say which eyes the model calls vision-threatening, [n] bool."""
        threshold = self.point.vision_threatening_threshold
        return head.vision_threatening_of(self.cumulative) >= threshold


def _is_counted(eye: Eye) -> bool:
    return eye.grade is not None and eye.gradable is not False


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write a row for every eye, with all digits, so that figures can be computed from it again.

    `counted` is 1 for the eyes that the whole split's figures are about: graded, gradable as far
    as anybody said, and in true colour.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(_row(predictions, row) for row in range(len(predictions.eyes)))


def _row(predictions: Predictions, row: int) -> list[Any]:
    eye = predictions.eyes[row]
    cumulative = predictions.cumulative[row].tolist()
    verdict = predictions.verdicts.get(eye.image)
    return [
        eye.image,
        eye.source,
        eye.variant,
        eye.camera,
        eye.split,
        eye.patient,
        _known(eye.grade),
        _known(eye.gradable),
        _known(eye.eye_quality),
        _known(eye.maculopathy),
        int(_is_counted(eye) and eye.true_colour),
        *map(float, predictions.logits[row]),
        *cumulative,
        *predictions.by_class[row].tolist(),
        int(predictions.given[row]),
        float(head.referable_of(predictions.cumulative[row : row + 1])[0]),
        float(head.vision_threatening_of(predictions.cumulative[row : row + 1])[0]),
        int(predictions.referable[row]),
        int(predictions.vision_threatening[row]),
        verdict.quality if verdict else "",
        float(verdict.gradable_probability) if verdict else "",
    ]


def _known(value: float | None) -> int | str:
    return "" if value is None else int(value)
