"""Real workers, killed, starved and misled: nothing is lost and nothing is written twice."""

import signal
import time

import pytest
import redis
from django.core.files.storage import default_storage

from accounts.scoping import hospital_scope
from drservice.celery import app
from drservice.settings.celery import INFERENCE_QUEUE
from inference.champion_services import model_promote
from inference.selectors import model_by_label
from inference.tests.conftest import paused
from inference.tests.factories import (
    flip_stored_byte,
    make_model,
    make_stored_case,
    reload,
    status_of,
    submit,
)
from inference.worker import ENGINE_STUCK, EXIT_STUCK
from workspace.models import Case
from workspace.schemas import CaseState
from workspace.services import GRADE_CASE, cases_reconcile

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

READY = r" ready\."
QUICK = {"GRADING_LEASE_S": 3, "GRADING_HINT_S": 1}
BROKER_CASES = 100


@pytest.fixture(autouse=True)
def impatient(settings, process_environment) -> None:
    """Make this process, which plays web and beat, as impatient as the workers."""
    settings.GRADING_LEASE_S = QUICK["GRADING_LEASE_S"]
    settings.GRADING_HINT_S = QUICK["GRADING_HINT_S"]


@pytest.fixture
def hospital(two_hospitals):
    return two_hospitals.a.hospital


def states(cases) -> list[str]:
    return [reload(case).state for case in cases]


def all_graded(cases) -> bool:
    """Sweep once, as beat would, and tell whether nothing is left to do."""
    cases_reconcile()
    pks = [case.pk for case in cases]
    with hospital_scope(cases[0].hospital_id):
        return Case.objects.filter(pk__in=pks, state=CaseState.GRADED).count() == len(pks)


def steps(case) -> list[tuple[str, str]]:
    return [(step.state, step.by) for step in reload(case).history]


def test_worker_killed_in_a_case_is_replaced_and_the_case_finished_once(hospital, worker_process):
    case = make_stored_case(hospital)
    with worker_process("slow", PACED_BATCH_MS=60_000, **QUICK) as slow:
        slow.wait_for_line(READY)
        submit(case)
        slow.wait_until(lambda: reload(case).state == CaseState.GRADING, "the claim")
        time.sleep(1.5 * QUICK["GRADING_LEASE_S"])
        cases_reconcile()
        assert reload(case).state == CaseState.GRADING, "its heartbeat keeps the lease"
        slow.kill()

    with worker_process("next", PACED_IMAGE_MS=300, **QUICK) as follower:
        follower.wait_until(lambda: all_graded([case]), "the case graded")
        graded = reload(case)
        assert [state for state, _ in steps(case)] == [
            *("queued", "grading", "queued", "grading", "graded")
        ]
        assert steps(case)[3] == ("grading", "next@test")
        assert graded.attempt == 2
        assert all(default_storage.exists(i.grading.heatmap) for i in graded.images)

        last = make_stored_case(hospital)
        submit(last)
        follower.wait_until(lambda: reload(last).state == CaseState.GRADING, "the claim")
        follower.process.send_signal(signal.SIGTERM)
        assert follower.wait_for_exit() == 0
    assert reload(last).state == CaseState.GRADED, "a worker that is asked to end finishes first"
    assert status_of("next@test") is None


def test_worker_whose_engine_hangs_gives_its_case_back_and_ends_loudly(hospital, worker_process):
    case = make_stored_case(hospital)
    with worker_process(PACED_BATCH_MS=60_000, GRADING_LIMIT_S=1) as hung:
        hung.wait_for_line(READY)
        submit(case)
        assert hung.wait_for_exit() == EXIT_STUCK
        assert "CRITICAL inference.worker worker_stuck" in hung.output

    released = reload(case)
    assert (released.state, released.history[-1].reason) == (CaseState.QUEUED, ENGINE_STUCK)


def test_nothing_is_lost_whatever_becomes_of_redis(hospital, worker_process, mortal_redis):
    with worker_process(REDIS_URL=mortal_redis.url, **QUICK) as worker:
        worker.wait_for_line(READY)

        # The same hint twenty times: one attempt, one result.
        with paused(worker):
            case = submit(make_stored_case(hospital))
            for _ in range(19):
                app.send_task(GRADE_CASE, args=[str(case.pk)], queue=INFERENCE_QUEUE)
        worker.wait_until(lambda: all_graded([case]), "the case graded")

        # Wiped: the hints are gone, the cases are not.
        with paused(worker):
            wiped = [submit(make_stored_case(hospital)) for _ in range(5)]
            redis.Redis.from_url(mortal_redis.url).flushall()
        worker.wait_until(lambda: all_graded(wiped), "every wiped case graded")

        # Down: the nurse notices nothing, the case waits.
        mortal_redis.kill()
        draft = make_stored_case(hospital)
        began = time.monotonic()
        waiting = submit(draft)
        assert time.monotonic() - began < 1
        assert reload(waiting).state == CaseState.QUEUED
        mortal_redis.start()
        worker.wait_until(lambda: all_graded([waiting]), "the case graded once Redis is back")

        # Killed and started again under load.
        drafts = [make_stored_case(hospital) for _ in range(BROKER_CASES)]
        many = [submit(draft) for draft in drafts[: BROKER_CASES // 2]]
        mortal_redis.kill()
        mortal_redis.start()
        many += [submit(draft) for draft in drafts[BROKER_CASES // 2 :]]
        worker.wait_until(lambda: all_graded(many), f"all {BROKER_CASES} cases graded")

    for each in (case, *wiped, waiting, *many):
        assert [state for state, _ in steps(each)] == ["queued", "grading", "graded"]


def test_worker_grades_with_verified_models_only_and_follows_the_champion(
    hospital, worker_process, tmp_path
):
    damaged = make_model(tmp_path / "1", seed=1, version="1")
    flip_stored_byte(damaged, "weights.safetensors")
    model_promote(model=damaged)
    case = make_stored_case(hospital)
    with worker_process("model", paced=False, **QUICK) as worker:
        worker.wait_for_line(r"model_not_ready reason=weights.safetensors of the model for-tests:1")
        submit(case)
        time.sleep(QUICK["GRADING_HINT_S"] + 0.5)
        cases_reconcile()
        waiting = reload(case)
        assert (waiting.state, waiting.attempt) == (CaseState.QUEUED, 0)
        status = worker.wait_until(lambda: status_of("model@test"), "its status")
        assert not status.ready
        assert "differs from what was registered" in status.reason

        make_model(tmp_path / "2", seed=2, version="2")
        model_promote(model=model_by_label("for-tests:2"))
        worker.wait_for_line(READY)
        worker.wait_until(lambda: all_graded([case]), "the case graded")
        assert versions_of(case) == {"for-tests-2"}

        make_model(tmp_path / "3", seed=3, version="3")
        model_promote(model=model_by_label("for-tests:3"))
        worker.wait_for_line(r"model_ready model_version=for-tests-3")
        following = submit(make_stored_case(hospital))
        worker.wait_until(lambda: all_graded([following]), "the next case graded")
        assert versions_of(following) == {"for-tests-3"}
        assert "model_released model_version=for-tests-2" in worker.output


def versions_of(case) -> set[str]:
    return {image.grading.model_version for image in reload(case).images}
