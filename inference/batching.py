"""Batches of whatever waits, formed by the one thread that owns an engine. Pure Python.

Work-conserving: an idle engine starts at once with what is there, and what arrives meanwhile
makes up the next batch. Photographs of different cases share a batch.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol


class Engine(Protocol):
    """Something that grades several prepared photographs at once, in their order."""

    def grade(self, prepared: Sequence) -> Sequence:
        """Return one result for each of `prepared`."""
        ...


@dataclass(frozen=True)
class Waiting:
    """A prepared photograph on its way to the engine, and where its result goes."""

    prepared: object
    result: Future = field(default_factory=Future)


class Batcher:
    """Own an engine: every call to it is made from this object's single thread."""

    def __init__(self, engine: Engine, *, batch_size: int, name: str = "engine") -> None:
        self._engine = engine
        self._batch_size = batch_size
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._call_began_s: float | None = None
        self._closing = False
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, prepared: object) -> Future:
        """Put one photograph in line. A cancelled one costs the engine nothing."""
        waiting = Waiting(prepared)
        self._queue.put(waiting)
        return waiting.result

    def close(self) -> None:
        """Let the thread end once everything that waits is done. Nothing may be submitted then."""
        self._queue.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the end after `close`; False when the thread is still at work."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def busy_s(self) -> float:
        """How long the engine's present call has been running; 0 while it is idle."""
        began_s = self._call_began_s
        return 0.0 if began_s is None else time.monotonic() - began_s

    def _run(self) -> None:
        while not self._closing:
            batch = self._next_batch()
            if batch:
                self._grade(batch)

    def _next_batch(self) -> list[Waiting]:
        """Return what waits, at least one unless the end has come, at most a batch."""
        batch: list[Waiting] = []
        self._take(self._queue.get(), batch)
        while len(batch) < self._batch_size and not self._closing:
            try:
                self._take(self._queue.get_nowait(), batch)
            except Empty:
                break
        return batch

    def _take(self, waiting: Waiting | None, batch: list[Waiting]) -> None:
        if waiting is None:
            self._closing = True
        elif waiting.result.set_running_or_notify_cancel():
            batch.append(waiting)

    def _grade(self, batch: list[Waiting]) -> None:
        try:
            results = self._call([waiting.prepared for waiting in batch])
        except Exception as error:
            self._grade_apart(batch, error)
            return
        for waiting, result in zip(batch, results, strict=True):
            waiting.result.set_result(result)

    def _grade_apart(self, batch: list[Waiting], error: Exception) -> None:
        """After a failed batch try each photograph alone, so that one can't spoil the others."""
        if len(batch) == 1:
            batch[0].result.set_exception(error)
            return
        for waiting in batch:
            self._grade([waiting])

    def _call(self, prepared: list) -> Sequence:
        self._call_began_s = time.monotonic()
        try:
            results = self._engine.grade(prepared)
        finally:
            self._call_began_s = None
        if len(results) != len(prepared):
            raise RuntimeError(f"The engine gave {len(results)} results for {len(prepared)}.")
        return results
