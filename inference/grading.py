"""Grade one case, from its hint to its written result."""

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from inference.engine.errors import EngineError, UnreadableImage
from inference.engine.schemas import Grading
from inference.errors import GradingFailed
from inference.serving import ModelKeeper, ServedModel
from workspace.case_parts import EyeImage
from workspace.models import Case
from workspace.schemas import ImageResult, Quality
from workspace.services import case_claim, case_complete, case_release

log = logging.getLogger(__name__)


class Abandoned(Exception):
    """The case was taken away from this worker while it was at it: nothing may be written."""


class Work:
    """One claimed case in this worker's hands."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.abandoned = False
        self._began_s = time.monotonic()
        self._waiting: list[Future] = []

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._began_s

    def wait_for(self, result: Future) -> None:
        self._waiting.append(result)

    def abandon(self) -> None:
        """Make the thread that grades it stop at its next step, and spare the engine."""
        self.abandoned = True
        for result in list(self._waiting):
            result.cancel()

    def require_owned(self) -> None:
        """Raise Abandoned when the case is no longer ours."""
        if self.abandoned:
            raise Abandoned


class WorkInHand:
    """The cases that this worker holds, for those who look after leases, limits and the end."""

    def __init__(self) -> None:
        self._works: set[Work] = set()
        self._lock = Lock()

    @contextmanager
    def holding(self, case: Case) -> Iterator[Work]:
        work = Work(case)
        with self._lock:
            self._works.add(work)
        try:
            yield work
        finally:
            with self._lock:
                self._works.discard(work)

    def __iter__(self) -> Iterator[Work]:
        with self._lock:
            return iter(list(self._works))

    def __len__(self) -> int:
        return len(self._works)


class CaseGrader:
    """Grade cases with whatever model is served, one call of `execute_case` a case."""

    def __init__(self, *, worker: str, models: ModelKeeper, in_hand: WorkInHand) -> None:
        self._worker = worker
        self._models = models
        self._in_hand = in_hand
        # Each photograph on its way holds a thread: enough for one batch and the next.
        self._hands = ThreadPoolExecutor(2 * settings.INFERENCE_BATCH_SIZE, "photograph")
        # Pixels take memory: only as many are decoded at once as there are cores, and one.
        self._decoding = BoundedSemaphore(len(os.sched_getaffinity(0)) + 1)

    def execute_case(self, case_pk: str) -> None:
        """Claim, grade and complete one case, all of it with one model.

        Pre-state: any; only a QUEUED case, or one whose lease is over, is taken. Post-state:
        GRADED; or QUEUED again with a reason after an error, FAILED after the last one; or
        whatever another worker made of it, if the lease was lost. Raises ModelUnavailable before
        anything is claimed.
        """
        with self._models.in_use() as model:
            case = case_claim(case_pk=case_pk, worker=self._worker)
            if case is None:
                return
            with self._in_hand.holding(case) as work:
                self._grade(work, model)

    def close(self) -> None:
        self._hands.shutdown(wait=False, cancel_futures=True)

    def _grade(self, work: Work, model: ServedModel) -> None:
        images = [image for image in work.case.images if image.needs_grading]
        try:
            results = self._results(work, images, model)
            work.require_owned()
            completed = case_complete(case=work.case, results=results)
        except (Abandoned, CancelledError):
            completed = None
        except Exception as error:
            # Whoever can't be sure that nothing was written deletes nothing.
            if _release(work, error):
                _heatmaps_delete(work.case, images)
            return
        if completed is None:
            log.warning("case_abandoned case=%s attempt=%s", work.case.pk, work.case.attempt)
            _heatmaps_delete(work.case, images)
            return
        log.info(
            "case_graded case=%s attempt=%s images=%s model_version=%s work_ms=%.0f",
            *(completed.pk, completed.attempt, len(images), model.version, 1000 * work.age_s),
        )

    def _results(self, work: Work, images: list[EyeImage], model: ServedModel) -> list[ImageResult]:
        """Grade all photographs of a case side by side. None is under way any more on return."""
        under_way = [self._hands.submit(self._result, work, image, model) for image in images]
        wait(under_way)
        return [each.result() for each in under_way]

    def _result(self, work: Work, image: EyeImage, model: ServedModel) -> ImageResult:
        """Take one photograph all the way: read, prepare, engine, attention map."""
        work.require_owned()
        content = _original_bytes(image)
        try:
            with self._decoding:
                prepared = model.grader.prepare(content)
        except UnreadableImage as error:
            log.warning("image_unreadable case=%s code=%s", work.case.pk, error.code)
            return _unreadable(image, model)
        grading = model.batcher.submit(prepared)
        work.wait_for(grading)
        found = grading.result()
        work.require_owned()
        return _as_result(image, found, _heatmap_store(work.case, image, found))


def _original_bytes(image: EyeImage) -> bytes:
    """Read a photograph. Raises GradingFailed when it is not what the clinic sent."""
    try:
        with default_storage.open(image.original) as stored:
            content = stored.read()
    except FileNotFoundError as error:
        raise GradingFailed(
            "A photograph is missing from the store. Take it again, or ask the people who run "
            "the service to restore it."
        ) from error
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise GradingFailed(
            "A stored photograph is not the one that was sent. Take it again, or ask the people "
            "who run the service to restore it."
        )
    return content


def _heatmap_store(case: Case, image: EyeImage, found: Grading) -> str:
    """Store the attention map, before the result that will name it; empty when there is none."""
    if found.heatmap_png is None:
        return ""
    return default_storage.save(_heatmap_name(case, image), ContentFile(found.heatmap_png))


def _heatmaps_delete(case: Case, images: list[EyeImage]) -> None:
    """Remove what an attempt that came to nothing has stored."""
    for image in images:
        default_storage.delete(_heatmap_name(case, image))


def _heatmap_name(case: Case, image: EyeImage) -> str:
    return f"{case.hospital_id}/{case.pk}/{image.key}/heatmap-{case.attempt}"


def _unreadable(image: EyeImage, model: ServedModel) -> ImageResult:
    return ImageResult(
        image_key=image.key,
        model_version=model.version,
        quality=Quality.REJECT,
        quality_reasons=("unreadable",),
    )


def _as_result(image: EyeImage, found: Grading, heatmap: str) -> ImageResult:
    return ImageResult(
        image_key=image.key,
        model_version=found.model_version,
        quality=found.quality,
        quality_reasons=found.quality_reasons,
        gradable_probability=found.gradable_probability,
        grade=found.grade,
        probabilities=found.probabilities or (),
        referable=bool(found.referable),
        vision_threatening=bool(found.vision_threatening),
        referable_probability=found.referable_probability,
        vision_threatening_probability=found.vision_threatening_probability,
        heatmap=heatmap,
    )


def _release(work: Work, error: Exception) -> bool:
    """Hand the case back after an error, with a reason for the clinic and details for the log.

    Return whether it is certain that this attempt has come to nothing.
    """
    log.exception("grading_failed case=%s attempt=%s", work.case.pk, work.case.attempt)
    return work.abandoned or case_release(case=work.case, reason=_reason(error)) is not None


def _reason(error: Exception) -> str:
    """Say what went wrong in words that are safe to show: ours, never a foreign error's."""
    if isinstance(error, GradingFailed):
        return error.message
    if isinstance(error, EngineError):
        return error.problem
    return "Grading stopped at an unexpected error."
