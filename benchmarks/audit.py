"""How fast an audit chain is verified and appended to, and what its events cost a click.

Run: .venv/bin/python -m benchmarks.audit

Starts a MongoDB and a Redis of its own. Verifies a chain of 100 000 events as `verify_audit` does;
appends by one thread and by several to one hospital; submits cases with and without events.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.machine import describe, row
from benchmarks.own_services import own_services

GOAL_VERIFIED_A_SECOND = 20_000
BATCH = 5_000
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--appends", type=int, default=400)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--submits", type=int, default=100)
    options = parser.parse_args()
    with own_services("benchmark_audit"):
        print(describe())
        _verify(options.events)
        _append(options.appends, options.threads)
        _submit(options.submits)


def _verify(count: int) -> None:
    """Verify a chain several times; the goal is held by the median."""
    from accounts.audit.verification import chain_check

    hospital_id = _hospital_with_chain(count)
    rates = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = chain_check(hospital_id)
        rates.append(found.events / (time.perf_counter() - began))
        assert found.fault is None, found.fault
        assert found.events == count
    rate = statistics.median(rates)
    met = "met" if rate >= GOAL_VERIFIED_A_SECOND else "MISSED"
    spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
    print(f"verify {count:,} events: {rate:,.0f} events/s (median of {ROUNDS}; {spread})")
    print(f"  goal {GOAL_VERIFIED_A_SECOND:,} events/s: {met}")


def _hospital_with_chain(count: int):
    """Write a chain of events of real size, quickly: past the transactions, not past the hashes."""
    from django.db import connection

    from accounts.audit import store
    from accounts.audit.models import AuditEvent
    from accounts.audit.services import head_at
    from accounts.keys.sealing import audit_key
    from accounts.services import hospital_create
    from accounts.tests.audit_chains import make_events

    hospital = hospital_create(name="A hospital with a long past")
    events = connection.get_collection(AuditEvent._meta.db_table)
    events.delete_many({"hospital_id": hospital.pk})
    batch = []
    for event in make_events(count, hospital.pk, audit_key()):
        batch.append(event)
        if len(batch) == BATCH or event["seq"] == count:
            events.insert_many(batch)
            batch = []
    store.head_move(head_at(event, audit_key()))
    return hospital.pk


def _append(count: int, threads: int) -> None:
    from accounts.services import hospital_create

    hospital = hospital_create(name="A busy hospital")
    _timed(10, lambda number: _event(hospital.pk, number))
    print(row("append, one thread", _timed(count, lambda number: _event(hospital.pk, number))))
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        shares = pool.map(lambda _: _own_share(hospital.pk, count // threads), range(threads))
        samples = [sample for share in shares for sample in share]
    rate = len(samples) / (time.perf_counter() - began)
    print(row(f"append, {threads} threads, one chain", samples))
    print(f"  {rate:.0f} events/s in one chain")


def _own_share(hospital_id, count: int) -> list[float]:
    from django.db import connection

    try:
        return _timed(count, lambda number: _event(hospital_id, number))
    finally:
        connection.close()


def _event(hospital_id, number: int) -> None:
    from accounts.audit.actions import Action
    from accounts.audit.services import audit_record

    audit_record(
        action=Action.VIEW, subject_kind="case", subject_id=number, hospital_id=hospital_id
    )


def _submit(count: int) -> None:
    """Submit cases with events and, in turns, with none: only so can the two be compared."""
    from unittest.mock import patch

    from accounts.services import hospital_create
    from workspace import services
    from workspace.tests.factories import make_case, make_patient

    patient = make_patient(hospital_create(name="A hospital that submits"))
    cases = [make_case(patient) for _ in range(2 * count + 10)]
    _timed(10, lambda number: _click(cases[number]))
    audited, bare = [], []
    for number in range(count):
        audited += _timed(1, lambda _, at=10 + 2 * number: _click(cases[at]))
        unwrapped = services._submit.__wrapped__
        with patch.multiple(services, _submit=unwrapped, _step_record=lambda *_, **__: None):
            bare += _timed(1, lambda _, at=11 + 2 * number: _click(cases[at]))
    print(row("submit, without an event", bare))
    print(row("submit, with its event", audited))
    print(f"  an event adds {1000 * (statistics.median(audited) - statistics.median(bare)):.1f} ms")


def _click(case) -> None:
    from accounts.scoping import hospital_scope
    from workspace.services import case_submit

    with hospital_scope(case.hospital_id):
        case_submit(case=case, by="A nurse")


def _timed(count: int, act: Callable[[int], None]) -> list[float]:
    samples = []
    for number in range(count):
        began = time.perf_counter()
        act(number)
        samples.append(time.perf_counter() - began)
    return samples


if __name__ == "__main__":
    main()
