"""How close the batcher comes to what an engine could do at best, and how long images wait.

Run: .venv/bin/python -m benchmarks.batching

The engine is a stand-in that takes 8 ms a batch and 0.4 ms an image, as a GPU might. Many case
threads each submit the four photographs of a case, wait for them, and go on to the next case, as
in a worker. Ideal is the engine fed with full batches without a pause. Goal: 90 % of it.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.machine import describe, percentile
from inference.batching import Batcher

BATCH_MS, IMAGE_MS = 8.0, 0.4
IMAGES_PER_CASE = 4
GOAL_SHARE = 0.90


class StandIn:
    """An engine that only takes its time, and counts what it was given."""

    def __init__(self) -> None:
        self.batches = 0
        self.images = 0

    def grade(self, prepared: list[int]) -> list[int]:
        time.sleep((BATCH_MS + IMAGE_MS * len(prepared)) / 1000)
        self.batches += 1
        self.images += len(prepared)
        return prepared


def main() -> None:
    options = _options()
    print(describe())
    print(
        f"engine: {BATCH_MS:g} ms a batch + {IMAGE_MS:g} ms an image; {options.seconds:g} s each\n"
    )
    print("a lone case, again and again:")
    _measure(options.batch_size, cases_at_once=1, seconds=options.seconds, goal=False)
    for cases_at_once in (options.batch_size // 2, options.batch_size):
        print(f"\n{cases_at_once} cases at once:")
        _measure(options.batch_size, cases_at_once, options.seconds, goal=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=6)
    return parser.parse_args()


def _measure(batch_size: int, cases_at_once: int, seconds: float, goal: bool) -> None:
    engine = StandIn()
    batcher = Batcher(engine, batch_size=batch_size)
    began = time.perf_counter()
    with ThreadPoolExecutor(cases_at_once) as threads:
        shares = threads.map(lambda _: _cases_until(began + seconds, batcher), range(cases_at_once))
        waits_s = [wait for share in shares for wait in share]
    took_s = time.perf_counter() - began
    batcher.close()
    rate = engine.images / took_s
    ideal = batch_size / (BATCH_MS + IMAGE_MS * batch_size) * 1000
    print(f"  {rate:7.0f} images/s, {engine.images / engine.batches:.1f} images a batch")
    p50_ms, p95_ms = (1000 * percentile(waits_s, share) for share in (0.5, 0.95))
    print(f"  a photograph's way through: p50 {p50_ms:.1f} ms, p95 {p95_ms:.1f} ms")
    if goal:
        share = rate / ideal
        verdict = "met" if share >= GOAL_SHARE else "MISSED"
        print(f"  {share:.0%} of the ideal {ideal:.0f} images/s; goal {GOAL_SHARE:.0%}: {verdict}")


def _cases_until(deadline: float, batcher: Batcher) -> list[float]:
    """Return how long each photograph took from being submitted to its result."""
    waits_s = []
    while time.perf_counter() < deadline:
        submitted = [(time.perf_counter(), batcher.submit(n)) for n in range(IMAGES_PER_CASE)]
        for began, result in submitted:
            result.result()
            waits_s.append(time.perf_counter() - began)
    return waits_s


if __name__ == "__main__":
    main()
