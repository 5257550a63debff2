"""Who may grade a case, and what becomes of it when hints and workers are lost."""

import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from kombu.exceptions import OperationalError

from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from workspace import services
from workspace.models import Case
from workspace.schemas import CaseState
from workspace.services import (
    GAVE_UP,
    CaseIncomplete,
    case_claim,
    case_complete,
    case_release,
    case_renew,
    case_submit,
    cases_reconcile,
    hint_interval,
)
from workspace.tests.factories import make_patient, make_queued_case, make_result

pytestmark = pytest.mark.django_db(transaction=True)

RIVALS = 20


@pytest.fixture(autouse=True)
def hints(monkeypatch) -> list[str]:
    """Collect the hints that would go to Celery."""
    sent: list[str] = []
    monkeypatch.setattr(services, "hint_send", lambda case: sent.append(str(case.pk)) or True)
    return sent


@pytest.fixture
def case(hints) -> Case:
    queued = make_queued_case(make_patient(make_hospital()))
    hints.clear()
    return queued


def at_once(act: Callable[[int], object]) -> list:
    """Let twenty threads do the same thing at the same moment."""
    start = Barrier(RIVALS)

    def rival(number: int):
        start.wait()
        try:
            return act(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(RIVALS) as pool:
        return list(pool.map(rival, range(RIVALS)))


def reload(case: Case) -> Case:
    with hospital_scope(case.hospital_id):
        return Case.objects.get(pk=case.pk)


def claim(case: Case, worker: str = "W") -> Case | None:
    return case_claim(case_pk=str(case.pk), worker=worker)


def become_due(case: Case) -> None:
    """Let the time pass that the case was given."""
    with hospital_scope(case.hospital_id):
        Case.objects.filter(pk=case.pk).update(due_at=timezone.now() - dt.timedelta(seconds=1))


def results_of(case: Case, grade: int = 0) -> list:
    return [make_result(image, grade) for image in case.images]


def test_twenty_workers_claim_at_once_and_one_wins(case):
    won = [each for each in at_once(lambda n: claim(case, f"W{n}")) if each is not None]

    assert len(won) == 1
    now = reload(case)
    assert (now.state, now.attempt) == (CaseState.GRADING, 1)
    assert now.history[-1].by == won[0].history[-1].by


def test_twenty_workers_take_over_an_abandoned_case_and_one_wins(case):
    claim(case)
    become_due(case)

    won = [each for each in at_once(lambda n: claim(case, f"W{n}")) if each is not None]

    assert [each.attempt for each in won] == [2]


def test_one_result_is_written_once_however_often_it_arrives(case):
    claim(case)
    copies = [reload(case) for _ in range(RIVALS)]

    written = at_once(lambda n: case_complete(case=copies[n], results=results_of(copies[n], n % 5)))

    winner = [each for each in written if each is not None]
    assert len(winner) == 1
    now = reload(case)
    assert [step.state for step in now.history] == ["queued", "grading", "graded"]
    assert [image.grading.grade for image in now.images] == [
        image.grading.grade for image in winner[0].images
    ]


def test_worker_that_lost_its_lease_can_do_nothing_to_the_case(case):
    late = claim(case, "late")
    become_due(case)
    owner = claim(case, "owner")

    assert not case_renew(case=late)
    assert case_release(case=late, reason="too late") is None
    assert case_complete(case=late, results=results_of(late, 4)) is None
    assert case_renew(case=owner)
    assert case_complete(case=owner, results=results_of(owner, 0)) is not None
    assert case_complete(case=late, results=results_of(late, 4)) is None
    now = reload(case)
    assert [image.grading.grade for image in now.images] == [0, 0]
    assert [step.by for step in now.history[1:3]] == ["late", "owner"]


def test_result_that_lacks_a_photograph_is_refused_and_changes_nothing(case):
    claimed = claim(case)

    with pytest.raises(CaseIncomplete):
        case_complete(case=claimed, results=results_of(claimed)[:1])

    assert reload(case).state == CaseState.GRADING


def test_twenty_sweeps_at_once_send_one_hint(case, hints):
    become_due(case)

    moved = at_once(lambda n: cases_reconcile())

    assert sum(moved) == 1
    assert hints == [str(case.pk)]
    assert reload(case).hints == 1


def test_hints_thin_out_while_no_worker_answers(case, hints):
    assert cases_reconcile() == 0, "a fresh case is not due yet"
    waits_s = []
    for _ in range(8):
        become_due(case)
        before = timezone.now()
        assert cases_reconcile() == 1
        waits_s.append((reload(case).due_at - before).total_seconds())

    base_s = settings.GRADING_HINT_S
    assert waits_s == pytest.approx([base_s * m for m in (2, 4, 8, 16, 32, 32, 32, 32)], abs=2)
    assert len(hints) == 8
    now = reload(case)
    assert (now.state, now.attempt) == (CaseState.QUEUED, 0), "waiting costs no attempt"
    assert hint_interval(0).total_seconds() == base_s


def test_case_of_a_lost_worker_is_tried_again_and_given_up_in_the_end(case, hints):
    for attempt in range(1, settings.GRADING_MAX_ATTEMPTS + 1):
        assert claim(case).attempt == attempt
        become_due(case)
        assert cases_reconcile() == 1
        assert cases_reconcile() == 0

    now = reload(case)
    assert (now.state, now.failure, now.due_at) == (CaseState.FAILED, GAVE_UP, None)
    assert claim(case) is None
    assert len(hints) == settings.GRADING_MAX_ATTEMPTS - 1


def test_case_that_can_not_be_looked_after_holds_up_no_other(case, hints, monkeypatch, caplog):
    other = make_queued_case(make_patient(make_hospital()))
    become_due(case)
    become_due(other)

    def send(waiting: Case) -> bool:
        if waiting.pk == case.pk:
            raise ValueError("something odd in this one")
        return True

    monkeypatch.setattr(services, "hint_send", send)

    assert cases_reconcile() == 1
    assert reload(other).hints == 1
    assert f"case_not_reconciled case={case.pk}" in caplog.text


@pytest.mark.parametrize("attempts_left", [1, 0])
def test_lease_renewed_while_a_sweep_runs_is_left_alone(case, hints, monkeypatch, attempts_left):
    held = claim(case)
    with hospital_scope(case.hospital_id):
        Case.objects.filter(pk=case.pk).update(attempt_limit=held.attempt + attempts_left)
    become_due(case)
    seen = services.cases_due

    def renewed_behind_its_back(now):
        due = seen(now)
        assert case_renew(case=held)
        return due

    monkeypatch.setattr(services, "cases_due", renewed_behind_its_back)

    assert cases_reconcile() == 0
    assert case_complete(case=held, results=results_of(held)) is not None
    assert hints == []


def test_released_case_says_why_and_fails_with_that_reason_at_the_last_attempt(case):
    for attempt in range(1, settings.GRADING_MAX_ATTEMPTS):
        released = case_release(case=claim(case), reason=f"reason {attempt}")
        assert released.state == CaseState.QUEUED
        assert released.history[-1].reason == f"reason {attempt}"
        assert released.due_at > timezone.now()

    failed = case_release(case=claim(case), reason="the last reason")

    assert (failed.state, failed.failure) == (CaseState.FAILED, "the last reason")


def test_attempts_go_on_counting_when_a_failed_case_is_submitted_again(case):
    late = claim(case)
    for _ in range(settings.GRADING_MAX_ATTEMPTS - 1):
        become_due(case)
        held = claim(case)
    assert case_release(case=held, reason="why").state == CaseState.FAILED
    with hospital_scope(case.hospital_id):
        again = case_submit(case=reload(case), by="A nurse")

    assert again.attempt == settings.GRADING_MAX_ATTEMPTS
    assert again.attempt_limit == 2 * settings.GRADING_MAX_ATTEMPTS
    assert (again.tries, again.failure) == (1, "")
    fresh = claim(case)
    assert fresh.attempt == settings.GRADING_MAX_ATTEMPTS + 1
    assert case_complete(case=late, results=results_of(late)) is None


def test_submit_succeeds_though_the_broker_is_down(monkeypatch):
    monkeypatch.undo()
    refusals = []

    def refuse(*args, **kwargs):
        refusals.append(args)
        raise OperationalError("no broker")

    monkeypatch.setattr(services.app, "send_task", refuse)

    case = make_queued_case(make_patient(make_hospital()))

    assert len(refusals) == 1
    assert reload(case).state == CaseState.QUEUED
    become_due(case)
    assert cases_reconcile() == 0, "nothing was sent"
    assert reload(case).state == CaseState.QUEUED
