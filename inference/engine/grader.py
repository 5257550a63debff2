"""The engine's public face: load a model, prepare photographs anywhere, grade them in one place."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.engine import head
from inference.engine.artefact import (
    CURE,
    Artefact,
    load_artefact,
    test_images,
    weights_sha256,
)
from inference.engine.backends import Classifier, Device, Precision, load_classifier
from inference.engine.decode import decode_photo, displayed_size
from inference.engine.disc import find_disc
from inference.engine.errors import ArtefactInvalid
from inference.engine.heatmap import activation_map, heatmap_png
from inference.engine.quality import Verdict, judge_photo
from inference.engine.schemas import REFERABLE_GRADE, Grading
from inference.engine.transforms import band_box, band_to_images, cut_band, field_mask

# Rounding to fewer bits falls a little differently on another processor.
QUICK_TOLERANCE = 0.05
BATCH_SIZE = 16  # more only costs memory: the heatmaps' features stay until the batch is done


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A photograph on its way to the network. `image` is None when quality rejected it."""

    image: np.ndarray | None  # [3, h, w] float32
    verdict: Verdict
    box: tuple[float, float, float, float]  # the graded part, in the displayed frame's pixels
    width_px: int
    height_px: int


class Grader:
    """One loaded model. `prepare` is thread-safe; `grade` belongs to one thread."""

    def __init__(self, artefact: Artefact, classifier: Classifier) -> None:
        self._artefact = artefact
        self._manifest = artefact.manifest
        self._classifier = classifier
        self._weights = artefact.network.head.weight.detach().float().cpu().numpy()
        self._field = field_mask(self._manifest.preprocessing)

    @property
    def version(self) -> str:
        """Name the model as results store it: name and version."""
        return f"{self._manifest.name}-{self._manifest.version}"

    @property
    def sha256(self) -> str:
        """Return the hash of the weights, 64 hexadecimal digits."""
        return self._artefact.sha256

    @property
    def backend(self) -> str:
        """Name what computes, for logs."""
        return self._classifier.name

    def prepare(self, content: bytes) -> Prepared:
        """Decode and judge a photograph, make the network's input. Raises UnreadableImage."""
        photo = decode_photo(content, draft=True)
        width, height = displayed_size(content)
        disc = find_disc(photo)
        verdict = judge_photo(photo, disc, self._manifest.quality)
        spec = self._manifest.preprocessing
        scale = width / photo.width
        image = None
        if verdict.quality != "reject":
            image = band_to_images(cut_band(photo, disc, spec)[None], spec)[0].numpy()
        left, top, right, bottom = band_box(disc, spec)
        return Prepared(
            image=image,
            verdict=verdict,
            box=(left * scale, top * scale, right * scale, bottom * scale),
            width_px=width,
            height_px=height,
        )

    def grade(self, prepared: Sequence[Prepared], *, heatmaps: bool = True) -> list[Grading]:
        """Grade photographs, in their order. Rejected ones get no grade and cost no time.

        Without `heatmaps` nothing is drawn, for lists of many that nobody looks at one by one.
        """
        waiting = [place for place, each in enumerate(prepared) if each.image is not None]
        gradings = {
            place: self._rejected(each) for place, each in enumerate(prepared) if each.image is None
        }
        for start in range(0, len(waiting), BATCH_SIZE):
            places = waiting[start : start + BATCH_SIZE]
            graded = self._grade_batch([prepared[place] for place in places], heatmaps)
            gradings.update(zip(places, graded, strict=True))
        return [gradings[place] for place in range(len(prepared))]

    def self_check(self) -> None:
        """Check the weights on disk and that this machine reproduces the test vector.

        Raises ArtefactInvalid; then nothing may be graded.
        """
        if weights_sha256(self._artefact.directory) != self.sha256:
            raise ArtefactInvalid("The weights on disk changed after they were loaded.", CURE)
        images = test_images(self._artefact.test_vector.seed, self._manifest.preprocessing)
        for engine, part in self._classifier.parts.items():
            scores, _ = part.predict(images)
            self._check_scores(engine, scores[0])

    def _check_scores(self, engine: str, scores: np.ndarray) -> None:
        vector = self._artefact.test_vector
        expected, tolerance = vector.scores, vector.tolerance
        if not engine.endswith("fp32"):
            expected = self._artefact.parity.engines[engine].test_scores
            tolerance = QUICK_TOLERANCE
        gap = float(np.abs(scores - np.array(expected)).max())
        if not gap <= tolerance:  # also catches NaN
            raise ArtefactInvalid(
                f"The model's test picture gives other scores here with {engine} "
                f"(off by {gap:.4f}).",
                "Check the worker's torch and OpenVINO versions against requirements.txt.",
            )

    def _grade_batch(self, prepared: Sequence[Prepared], heatmaps: bool) -> list[Grading]:
        images = np.stack([each.image for each in prepared if each.image is not None])
        scores, features = self._classifier.predict(images)
        logits = head.ordered_logits(scores)
        cumulative = head.cumulative_probabilities(logits, self._manifest.temperature)
        deciding = head.deciding_thresholds(scores)[:, REFERABLE_GRADE - 1]
        return [
            self._graded(
                each,
                cumulative[row],
                self._heatmap(each, features[row], int(deciding[row])) if heatmaps else None,
            )
            for row, each in enumerate(prepared)
        ]

    def _heatmap(self, prepared: Prepared, features: np.ndarray, deciding: int) -> bytes:
        return heatmap_png(
            activation_map(features, self._weights[deciding]),
            box=prepared.box,
            frame_px=(prepared.width_px, prepared.height_px),
            field=self._field,
        )

    def _graded(self, prepared: Prepared, cumulative: np.ndarray, heatmap: bytes | None) -> Grading:
        point = self._manifest.operating_point
        row = cumulative[None]
        referable = float(head.referable_of(row)[0])
        vision_threatening = float(head.vision_threatening_of(row)[0])
        return Grading(
            grade=int(head.grades_of(row)[0]),
            probabilities=tuple(float(p) for p in head.class_probabilities(row)[0]),
            referable_probability=referable,
            vision_threatening_probability=vision_threatening,
            referable=referable >= point.referable_threshold,
            vision_threatening=vision_threatening >= point.vision_threatening_threshold,
            gradable_probability=prepared.verdict.gradable_probability,
            quality=prepared.verdict.quality,
            quality_reasons=prepared.verdict.reasons,
            heatmap_png=heatmap,
            width_px=prepared.width_px,
            height_px=prepared.height_px,
            model_version=self.version,
        )

    def _rejected(self, prepared: Prepared) -> Grading:
        return Grading(
            grade=None,
            probabilities=None,
            referable_probability=None,
            vision_threatening_probability=None,
            referable=None,
            vision_threatening=None,
            gradable_probability=prepared.verdict.gradable_probability,
            quality=prepared.verdict.quality,
            quality_reasons=prepared.verdict.reasons,
            heatmap_png=None,
            width_px=prepared.width_px,
            height_px=prepared.height_px,
            model_version=self.version,
        )


def load_grader(
    directory: Path, *, device: Device = "auto", precision: Precision = "auto"
) -> Grader:
    """Load a model's folder. Raises ArtefactInvalid when it is not what its manifest says."""
    artefact = load_artefact(directory)
    return Grader(artefact, load_classifier(artefact, device, precision=precision))
