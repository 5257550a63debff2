"""How long a clinic waits from submitting a case to its stored result, apart from the model itself.

Run: .venv/bin/python -m benchmarks.submit_to_result

Starts a MongoDB, a Redis and a grading worker of its own. The worker's engine takes no time at all
(inference.tests.paced), so what is measured is everything else: the case made durable, the hint,
the claim, two photographs read, two attention maps stored, the result made durable and announced.
First one case at a time, then several clinics at once.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import describe, percentile
from benchmarks.own_services import own_services

GOAL_P50_MS, GOAL_P95_MS = 25, 150
WORKER_THREADS = 4
TIMEOUT_S = 30


def main() -> None:
    options = _options()
    with own_services("benchmark_submit") as folder, _worker(folder):
        _measure(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--clinics", type=int, default=4)
    # The mean of eight 8-megapixel JPEGs of fundus cameras (0.9 to 2.2).
    parser.add_argument("--megabytes", type=float, default=1.5)
    return parser.parse_args()


@contextmanager
def _worker(folder: Path) -> Iterator[None]:
    from drservice.testing.managed_process import ManagedProcess

    command = (
        *(sys.executable, "-m", "celery", "-A", "drservice", "worker", "-Q", "inference"),
        *("-I", "inference.tests.paced", "--pool=threads", "--concurrency", str(WORKER_THREADS)),
        *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
    )
    with ManagedProcess(command, log=folder / "worker.log") as worker:
        worker.wait_for_line(r" ready\.")
        yield


def _measure(options: argparse.Namespace) -> None:
    from accounts.services import hospital_create

    print(describe())
    print(f"2 photographs of {options.megabytes:g} MB a case, {WORKER_THREADS} threads\n")
    hospital = hospital_create(name="Hospital")
    photographs = [os.urandom(int(options.megabytes * 1e6)) for _ in range(2)]
    _one_by_one(_drafts(hospital, photographs, 20))
    samples = _one_by_one(_drafts(hospital, photographs, options.cases))
    _report("one case at a time", samples, unhurried=True)
    count = options.cases // options.clinics
    shares = [_drafts(hospital, photographs, count) for _ in range(options.clinics)]
    started = time.perf_counter()
    with ThreadPoolExecutor(options.clinics) as clinics:
        samples = [sample for share in clinics.map(_one_by_one, shares) for sample in share]
    rate = len(samples) / (time.perf_counter() - started)
    _report(f"{options.clinics} clinics at once, without a pause", samples)
    print(f"  {rate:.0f} cases a second")


def _drafts(hospital, photographs: list[bytes], count: int) -> list:
    """Make cases ready to be submitted. They share two stored photographs: each is read anew."""
    from accounts.scoping import hospital_scope
    from inference.tests.factories import make_stored_image
    from workspace.models import Case
    from workspace.schemas import Laterality
    from workspace.services import case_create
    from workspace.tests.factories import make_patient

    eyes = zip(Laterality, photographs, strict=True)
    images = [make_stored_image(eye, content) for eye, content in eyes]
    patient = make_patient(hospital)
    with hospital_scope(hospital.pk):
        drafts = [case_create(patient=patient, by="A nurse") for _ in range(count)]
        for image in images:
            drafts = [Case.objects.add_image(pk=draft.pk, image=image) for draft in drafts]
    return drafts


def _one_by_one(drafts: list) -> list[tuple[float, ...]]:
    import redis
    from django.conf import settings

    from workspace.events import channel_of

    announcements = redis.Redis.from_url(settings.REDIS_URL).pubsub()
    announcements.subscribe(channel_of(drafts[0].hospital_id))
    try:
        return [_submit_and_wait(draft, announcements) for draft in drafts]
    finally:
        announcements.close()


def _submit_and_wait(case, announcements) -> tuple[float, ...]:
    """Return seconds: the click, until claimed, until stored, and all of it until announced."""
    from inference.tests.factories import reload, submit

    began = time.perf_counter()
    submit(case)
    clicked = time.perf_counter()
    _wait_for_result(str(case.pk), announcements)
    done = time.perf_counter()
    queued, claimed, stored = (step.at for step in reload(case).history[-3:])
    return (
        clicked - began,
        (claimed - queued).total_seconds(),
        (stored - claimed).total_seconds(),
        done - began,
    )


def _wait_for_result(case_pk: str, announcements) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        told = announcements.get_message(ignore_subscribe_messages=True, timeout=1)
        if told is None:
            continue
        event = json.loads(told["data"])
        if event["case"] == case_pk and event["state"] == "graded":
            return
    raise TimeoutError(f"The case was not graded within {TIMEOUT_S} s.")


def _report(title: str, samples: list[tuple[float, ...]], unhurried: bool = False) -> None:
    print(f"{title}, n={len(samples)}")
    clicks, claims, works, wholes = (list(column) for column in zip(*samples, strict=True))
    _row("the click itself", clicks)
    _row("submitted to claimed", claims)
    _row("claimed to stored", works)
    _row("click to announced result", wholes)
    p50_ms, p95_ms = (1000 * percentile(wholes, share) for share in (0.5, 0.95))
    print(f"  goal p95 {GOAL_P95_MS} ms: {'met' if p95_ms <= GOAL_P95_MS else 'MISSED'}")
    if unhurried:
        print(f"  goal p50 {GOAL_P50_MS} ms: {'met' if p50_ms <= GOAL_P50_MS else 'MISSED'}")


def _row(name: str, samples_s: list[float]) -> None:
    p50_ms, p95_ms = (1000 * percentile(samples_s, share) for share in (0.5, 0.95))
    print(f"  {name:<28} p50 {p50_ms:7.1f} ms  p95 {p95_ms:7.1f} ms")


if __name__ == "__main__":
    main()
