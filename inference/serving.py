"""The model that a worker grades with, and the change from one to the next while it works."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

from bson import ObjectId
from django.conf import settings

from inference.batching import Batcher, Engine
from inference.errors import ModelUnavailable
from inference.model_files import local_directory
from inference.models import ModelAlias, ModelVersion
from inference.selectors import champion_alias, model_by_pk

log = logging.getLogger(__name__)

RETRY_S = 20.0
NO_CHAMPION = (
    "No model has been promoted, so nothing can be graded. "
    "Run `manage.py register_model DIRECTORY --promote`."
)


class ServedGrader(Engine, Protocol):
    """What the engine's Grader offers: `prepare` for any thread, `grade` for one."""

    version: str
    backend: str

    def prepare(self, content: bytes): ...


class ServedModel:
    """A verified model with the thread that owns it. It ends when retired and out of use."""

    def __init__(self, grader: ServedGrader, model_pk: ObjectId | None = None) -> None:
        self.grader = grader
        self.model_pk = model_pk
        self.batcher = Batcher(
            grader, batch_size=settings.INFERENCE_BATCH_SIZE, name=f"engine {grader.version}"
        )
        self._lock = Lock()
        self._users = 0
        self._retired = False

    @property
    def version(self) -> str:
        return self.grader.version

    def enter(self) -> bool:
        """Begin to use the model; False when it has been retired meanwhile."""
        with self._lock:
            if self._retired:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            self._close_when_done()

    def retire(self) -> None:
        """Take no new cases; those that are in work finish with the model that they began with."""
        with self._lock:
            self._retired = True
            self._close_when_done()

    def _close_when_done(self) -> None:
        if self._retired and self._users == 0:
            self.batcher.close()
            log.info("model_released model_version=%s", self.version)


def load_champion(model: ModelVersion) -> ServedModel:
    """Fetch, load and verify a model on this machine. Raises ModelUnavailable or EngineError."""
    # Only here: beat and training workers import this module too, and need no torch for it.
    from inference.engine.errors import EngineError  # noqa: PLC0415
    from inference.engine.grader import load_grader  # noqa: PLC0415

    directory = local_directory(model)
    try:
        grader = load_grader(
            directory, device=settings.INFERENCE_DEVICE, precision=settings.INFERENCE_PRECISION
        )
        grader.self_check()
    except EngineError as error:
        raise ModelUnavailable(f"{error.problem} {error.cure}") from error
    return ServedModel(grader, model.pk)


class ModelKeeper:
    """Follow the champion: the present model stays in use until the next one is verified."""

    def __init__(self, load: Callable[[ModelVersion], ServedModel] = load_champion) -> None:
        self._load = load
        self._served: ServedModel | None = None
        self._tried_revision = 0
        self._retry_at_s = 0.0
        self.trouble = "Starting."

    @property
    def served(self) -> ServedModel | None:
        return self._served

    @contextmanager
    def in_use(self) -> Iterator[ServedModel]:
        """Hold on to the present model for one case. Raises ModelUnavailable when there is none."""
        while (served := self._served) is not None:
            if served.enter():
                try:
                    yield served
                finally:
                    served.leave()
                return
        raise ModelUnavailable(self.trouble)

    def follow(self) -> None:
        """Look where the champion stands and load it when it is new. Never raises.

        A champion that does not load is tried again after a pause, or at once when it is moved.
        """
        try:
            self._follow()
        except ModelUnavailable as fault:
            self._troubled(fault.message)
        except Exception as error:
            self._troubled(
                f"The model could not be loaded ({type(error).__name__}); the worker's log has "
                "the details. It is tried again.",
                error,
            )

    def close(self) -> None:
        served, self._served = self._served, None
        if served is not None:
            served.retire()

    def _follow(self) -> None:
        alias = champion_alias()
        if alias is None:
            raise ModelUnavailable(NO_CHAMPION)
        if self._served is not None and self._served.model_pk == alias.model_id:
            self.trouble = ""
            return
        if self._is_due(alias):
            self._take_up(alias)

    def _is_due(self, alias: ModelAlias) -> bool:
        """Spare the machine: the same champion that failed to load is tried only now and then."""
        return alias.revision != self._tried_revision or time.monotonic() >= self._retry_at_s

    def _take_up(self, alias: ModelAlias) -> None:
        self._tried_revision = alias.revision
        self._retry_at_s = time.monotonic() + RETRY_S
        model = model_by_pk(alias.model_id)
        if model is None:
            raise ModelUnavailable("The champion's record is missing. Promote another model.")
        fresh = self._load(model)
        former, self._served = self._served, fresh
        self.trouble = ""
        log.info(
            "model_ready model_version=%s sha256=%s backend=%s",
            *(fresh.version, model.sha256, fresh.grader.backend),
        )
        if former is not None:
            former.retire()

    def _troubled(self, reason: str, error: Exception | None = None) -> None:
        """Remember why there is no new model, and log it once, not at every look."""
        if reason != self.trouble:
            log.error("model_not_ready reason=%s", reason, exc_info=error)
        self.trouble = reason
