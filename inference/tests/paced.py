"""A worker whose engine takes its time and looks at nothing: for tests and benchmarks of the rest.

    celery -A drservice worker -I inference.tests.paced -Q inference --pool=threads

It knows no model, and no setting of the service can select it: only this module does. How long
an image and a batch take is said in PACED_BATCH_MS and PACED_IMAGE_MS.
"""

import os
import time
from collections.abc import Sequence

from inference.engine.schemas import Grading
from inference.serving import ModelKeeper, ServedModel
from inference.worker import GradingStep

HEATMAP = b"\x89PNG\r\n\x1a\n" + bytes(2000)


class PacedGrader:
    """Grade everything as mild after a set time."""

    version = "paced-0"
    backend = "none"

    def __init__(self, *, batch_ms: float = 0.0, image_ms: float = 0.0) -> None:
        self._batch_ms = batch_ms
        self._image_ms = image_ms

    def prepare(self, content: bytes) -> bytes:
        return content[:16]

    def grade(self, prepared: Sequence[bytes]) -> list[Grading]:
        time.sleep((self._batch_ms + self._image_ms * len(prepared)) / 1000)
        return [make_grading(self.version) for _ in prepared]


class PacedKeeper(ModelKeeper):
    """Serve one paced grader from the start; there is no champion to follow."""

    def follow(self) -> None:
        if self._served is None:
            self._served = ServedModel(paced_grader())
            self.trouble = ""


def paced_grader() -> PacedGrader:
    return PacedGrader(
        batch_ms=float(os.environ.get("PACED_BATCH_MS", "0")),
        image_ms=float(os.environ.get("PACED_IMAGE_MS", "0")),
    )


def make_grading(model_version: str, **fields) -> Grading:
    fields = {
        "grade": 1,
        "probabilities": (0.2, 0.6, 0.1, 0.05, 0.05),
        "referable_probability": 0.2,
        "vision_threatening_probability": 0.1,
        "referable": False,
        "vision_threatening": False,
        "gradable_probability": 0.95,
        "quality": "good",
        "quality_reasons": (),
        "heatmap_png": HEATMAP,
        "width_px": 640,
        "height_px": 480,
        **fields,
    }
    return Grading(model_version=model_version, **fields)


GradingStep.models = PacedKeeper
