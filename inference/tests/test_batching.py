"""The batcher: one thread, batches of what waits, and no photograph spoils another's."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError

import pytest

from inference.batching import Batcher

TIMEOUT_S = 10


class Engine:
    """Double every number, when the gate is open; refuse the numbers it is told to refuse."""

    def __init__(self, refused: Sequence[int] = ()) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.refused = set(refused)
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()

    def grade(self, prepared: list[int]) -> list[int]:
        self.batches.append(list(prepared))
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.gate.wait(TIMEOUT_S)
        if self.refused.intersection(prepared):
            raise ValueError("refused")
        return [2 * number for number in prepared]


@pytest.fixture
def batcher_of():
    made = []

    def make(engine, batch_size: int = 8) -> Batcher:
        made.append(Batcher(engine, batch_size=batch_size, name="the engine thread"))
        return made[-1]

    yield make
    for batcher in made:
        batcher.close()
        assert batcher.join(TIMEOUT_S)


def test_idle_engine_starts_at_once_and_then_takes_what_waits(batcher_of):
    engine = Engine()
    batcher = batcher_of(engine)
    first = batcher.submit(0)
    assert engine.entered.wait(TIMEOUT_S)
    rest = [batcher.submit(number) for number in range(1, 12)]
    engine.gate.set()

    assert first.result(TIMEOUT_S) == 0
    assert [each.result(TIMEOUT_S) for each in rest] == [2 * n for n in range(1, 12)]
    assert engine.batches == [[0], list(range(1, 9)), [9, 10, 11]]
    assert engine.threads == {"the engine thread"}


def test_failed_batch_fails_only_the_photograph_at_fault(batcher_of):
    engine = Engine(refused=[2])
    batcher = batcher_of(engine)
    batcher.submit(0)
    assert engine.entered.wait(TIMEOUT_S)
    batch = [batcher.submit(number) for number in (1, 2, 3)]
    engine.gate.set()

    assert batch[0].result(TIMEOUT_S) == 2
    assert batch[2].result(TIMEOUT_S) == 6
    with pytest.raises(ValueError, match="refused"):
        batch[1].result(TIMEOUT_S)
    assert batcher.submit(4).result(TIMEOUT_S) == 8, "the engine goes on"


def test_engine_that_loses_a_result_never_gives_a_photograph_another_ones(batcher_of):
    class Forgetful(Engine):
        def grade(self, prepared):
            return super().grade(prepared)[1:]

    engine = Forgetful()
    engine.gate.set()

    with pytest.raises(RuntimeError, match="0 results for 1"):
        batcher_of(engine).submit(1).result(TIMEOUT_S)


def test_cancelled_photograph_costs_the_engine_nothing(batcher_of):
    engine = Engine()
    batcher = batcher_of(engine)
    batcher.submit(0)
    assert engine.entered.wait(TIMEOUT_S)
    unwanted, wanted = batcher.submit(1), batcher.submit(2)
    assert unwanted.cancel()
    engine.gate.set()

    assert wanted.result(TIMEOUT_S) == 4
    with pytest.raises(CancelledError):
        unwanted.result(TIMEOUT_S)
    assert engine.batches == [[0], [2]]


def test_close_finishes_what_waits_and_ends_the_thread(batcher_of):
    engine = Engine()
    batcher = batcher_of(engine, batch_size=2)
    waiting = [batcher.submit(number) for number in range(5)]
    batcher.close()
    engine.gate.set()

    assert [each.result(TIMEOUT_S) for each in waiting] == [0, 2, 4, 6, 8]
    assert batcher.join(TIMEOUT_S)


def test_busy_time_is_that_of_the_present_call(batcher_of):
    engine = Engine()
    batcher = batcher_of(engine)
    assert batcher.busy_s == 0
    result = batcher.submit(1)
    assert engine.entered.wait(TIMEOUT_S)
    time.sleep(0.05)
    assert 0.05 <= batcher.busy_s < TIMEOUT_S
    engine.gate.set()
    result.result(TIMEOUT_S)
    batcher.submit(2).result(TIMEOUT_S)
    batcher.close()
    assert batcher.join(TIMEOUT_S)
    assert batcher.busy_s == 0
