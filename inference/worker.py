"""The grading worker: a part of `celery -A drservice worker -Q inference --pool=threads`.

    celery's threads   one case each: claim it, wait for its photographs, write the result
    photograph         several threads: read, decode and prepare; store the attention map
    engine             owns the model and grades batches of whatever waits (inference.batching)
    model keeper       follows the champion; a new one is verified before it takes over
    heartbeat          renews the leases of the cases in hand, and says how this worker is
    watchdog           takes stuck cases away, and ends the process when the engine is stuck

Celery consumes nothing before the model has been verified. The threads pool knows no time limits
and no lost workers, so leases and limits are kept here.
"""

import logging
import os
import time
from collections.abc import Callable
from threading import Event, Thread

import redis
from celery import bootsteps
from celery.exceptions import ImproperlyConfigured
from celery.worker import state
from django.conf import settings

from drservice.celery import app
from drservice.settings.celery import INFERENCE_QUEUE
from inference.errors import ModelUnavailable
from inference.grading import CaseGrader, Work, WorkInHand
from inference.serving import ModelKeeper
from inference.worker_status import WorkerStatus, status_remove, status_write
from workspace.services import case_release, case_renew

log = logging.getLogger(__name__)

FOLLOW_EVERY_S = 2.0
WATCH_EVERY_S = 1.0
BEAT_EVERY_S = 4.0
SHUTDOWN_GRACE_S = 20.0
EXIT_STUCK = 70
WORKER_STOPPED = "The grading worker was stopped"
TOOK_TOO_LONG = "Grading took too long and was stopped"
ENGINE_STUCK = "The grading engine stopped answering"


class Ticker(Thread):
    """Do something every few seconds until stopped; a failure is logged and the next try comes."""

    def __init__(self, name: str, every_s: float, action: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._every_s = every_s
        self._action = action
        self._stopped = Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._action()
            except Exception:
                log.exception("ticker_failed ticker=%s", self.name)
            self._stopped.wait(self._every_s)

    def stop(self) -> None:
        self._stopped.set()


class GradingWorker:
    """Everything that one worker process needs beside Celery."""

    def __init__(self, name: str, models: ModelKeeper | None = None) -> None:
        self.name = name
        self.models = models or ModelKeeper()
        self.in_hand = WorkInHand()
        self._cases = CaseGrader(worker=name, models=self.models, in_hand=self.in_hand)
        self._ending = False
        self._tickers = [
            Ticker("model keeper", FOLLOW_EVERY_S, self.models.follow),
            Ticker("heartbeat", min(BEAT_EVERY_S, settings.GRADING_LEASE_S / 4), self.beat),
            Ticker("watchdog", WATCH_EVERY_S, self.watch),
        ]

    @property
    def ready(self) -> bool:
        return self.models.served is not None

    def start(self) -> None:
        for ticker in self._tickers:
            ticker.start()

    def execute_case(self, case_pk: str) -> None:
        """Grade a case that a hint names, unless this worker is about to end."""
        if self._ending:
            return
        try:
            self._cases.execute_case(case_pk)
        except ModelUnavailable as fault:
            log.error("case_not_taken case=%s reason=%s", case_pk, fault.message)

    def beat(self) -> None:
        """Renew every lease in hand, and say how this worker is."""
        for work in self.in_hand:
            if not work.abandoned and not case_renew(case=work.case):
                log.warning("lease_lost case=%s attempt=%s", work.case.pk, work.case.attempt)
                work.abandon()
        try:
            status_write(self.status())
        except redis.RedisError as error:
            log.warning("status_not_written error=%s", type(error).__name__)

    def status(self) -> WorkerStatus:
        served = self.models.served
        return WorkerStatus(
            worker=self.name,
            ready=served is not None,
            reason=self.models.trouble,
            model_version="" if served is None else served.version,
            backend="" if served is None else served.grader.backend,
            cases_in_work=len(self.in_hand),
            beat_at=time.time(),
        )

    def watch(self) -> None:
        """Take away cases that take too long; end the process when something is stuck for good."""
        limit_s = settings.GRADING_LIMIT_S
        if self._stuck(limit_s):
            self.end_loudly()
        for work in self.in_hand:
            if work.age_s > limit_s and not work.abandoned:
                self.take_away(work, TOOK_TOO_LONG)

    def _stuck(self, limit_s: float) -> bool:
        """Tell whether the engine hangs, or a thread that should have let go of its case."""
        served = self.models.served
        engine_hangs = served is not None and served.batcher.busy_s > limit_s
        return engine_hangs or any(work.age_s > 2 * limit_s for work in self.in_hand)

    def take_away(self, work: Work, reason: str) -> None:
        """Stop a case in hand and give it back with a reason for the clinic."""
        work.abandon()
        log.error("case_taken_away case=%s reason=%s", work.case.pk, reason)
        case_release(case=work.case, reason=reason)

    def end_loudly(self) -> None:
        """End a process that can't be mended, so that the supervisor starts a new one."""
        log.critical("worker_stuck limit_s=%s: this process ends now", settings.GRADING_LIMIT_S)
        try:
            self.give_back_all(ENGINE_STUCK)
        finally:
            # Not sys.exit: the stuck thread would keep the interpreter from ending.
            os._exit(EXIT_STUCK)

    def give_back_all(self, reason: str) -> None:
        for work in self.in_hand:
            if not work.abandoned:
                self.take_away(work, reason)

    def drain(self) -> None:
        """Give the cases in hand a while to finish; what is left then is given back."""
        deadline_s = time.monotonic() + SHUTDOWN_GRACE_S
        while len(self.in_hand) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        self._ending = True
        self.give_back_all(WORKER_STOPPED)

    def stop(self) -> None:
        for ticker in self._tickers:
            ticker.stop()
        self._cases.close()
        self.models.close()
        try:
            status_remove(self.name)
        except redis.RedisError as error:
            log.warning("status_not_removed error=%s", type(error).__name__)


class GradingStep(bootsteps.StartStopStep):
    """Make a Celery worker a grading worker, when it consumes the inference queue."""

    models: Callable[[], ModelKeeper] = ModelKeeper

    def include_if(self, parent) -> bool:
        return INFERENCE_QUEUE in parent.app.amqp.queues.consume_from

    def create(self, parent) -> None:
        global _worker
        if "thread" not in parent.pool_cls.__module__:
            raise ImproperlyConfigured(
                "A grading worker needs one process that owns the model: start it with "
                "--pool=threads."
            )
        _worker = GradingWorker(parent.hostname, type(self).models())
        self.obj = _worker

    def start(self, parent) -> None:
        """Hold Celery back until the model is verified: Consumer, the last step, starts after."""
        _worker.start()
        while not _worker.ready:
            state.maybe_shutdown()
            time.sleep(0.1)

    def close(self, parent) -> None:
        """Begin to drain beside Celery, which waits for its threads at the same time."""
        Thread(target=_worker.drain, name="drain", daemon=True).start()

    def stop(self, parent) -> None:
        _worker.drain()
        _worker.stop()

    terminate = stop


_worker: GradingWorker | None = None

app.steps["worker"].add(GradingStep)


def grading_worker() -> GradingWorker:
    """Return this process's grading worker. Raises RuntimeError where there is none."""
    if _worker is None:
        raise RuntimeError(
            f"This process is no grading worker: only workers of the queue {INFERENCE_QUEUE} are."
        )
    return _worker
