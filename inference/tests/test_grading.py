"""One case in a worker's hands: graded, unreadable, damaged, taken away, retaken."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from bson import ObjectId
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection

from accounts.tests.factories import make_hospital
from inference.engine.errors import UnreadableImage
from inference.errors import ModelUnavailable
from inference.serving import ModelKeeper, ServedModel
from inference.tests.factories import (
    add_stored_image,
    make_stored_case,
    reload,
    status_of,
    submit,
    unsent_hints,
)
from inference.tests.paced import PacedGrader, make_grading
from inference.worker import ENGINE_STUCK, EXIT_STUCK, TOOK_TOO_LONG, WORKER_STOPPED, GradingWorker
from workspace.schemas import CaseState, Decision, Laterality
from workspace.services import case_complete

pytestmark = pytest.mark.django_db(transaction=True)

TIMEOUT_S = 10
UNREADABLE, REJECTED = b"unreadable", b"rejected"


class TestGrader(PacedGrader):
    """Grade by what the bytes say; wait at the gate when there is one."""

    __test__ = False

    def __init__(self, version: str = "graded-1", gate: threading.Event | None = None) -> None:
        super().__init__()
        self.version = version
        self.gate = gate
        self.entered = threading.Event()
        self.prepared: list[bytes] = []

    def prepare(self, content: bytes) -> bytes:
        self.prepared.append(content)
        if content == UNREADABLE:
            raise UnreadableImage("The file is damaged.", "Take it again.")
        return content

    def grade(self, prepared):
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(TIMEOUT_S)
        return [self._grading(content) for content in prepared]

    def _grading(self, content: bytes):
        if content != REJECTED:
            return make_grading(self.version)
        nothing = dict.fromkeys(
            (
                "grade",
                "probabilities",
                "referable_probability",
                "vision_threatening_probability",
                "referable",
                "vision_threatening",
                "heatmap_png",
            )
        )
        return make_grading(self.version, quality="reject", quality_reasons=("dark",), **nothing)


@pytest.fixture(autouse=True)
def hints(monkeypatch):
    return unsent_hints(monkeypatch)


@pytest.fixture
def worker_with():
    """Return a function that makes a worker around a grader, without Celery."""
    made = []

    def make(grader: TestGrader) -> GradingWorker:
        models = ModelKeeper()
        models._served = ServedModel(grader, ObjectId())
        models.trouble = ""
        made.append(GradingWorker("W", models))
        return made[-1]

    yield make
    for worker in made:
        worker.stop()


@pytest.fixture
def background():
    """Run something in another thread, as Celery's pool would."""
    with ThreadPoolExecutor(4) as pool:

        def run(act, *args):
            def task():
                try:
                    return act(*args)
                finally:
                    connection.close()

            return pool.submit(task)

        yield run


@pytest.fixture
def exits(monkeypatch) -> list[int]:
    """Collect the codes with which the process would have ended."""
    codes = []
    monkeypatch.setattr("inference.worker.os._exit", codes.append)
    return codes


def queued(right: bytes = b"right", left: bytes = b"left"):
    contents = {Laterality.OD: right, Laterality.OS: left}
    return submit(make_stored_case(make_hospital(), contents))


def heatmap_names(case) -> list[str]:
    prefix = f"{case.hospital_id}/{case.pk}/"
    files = connection.database["images.files"].find({"filename": {"$regex": f"^{prefix}"}})
    return [file["filename"] for file in files]


def test_case_is_graded_with_an_attention_map_for_each_photograph(worker_with):
    case = queued()

    worker_with(TestGrader()).execute_case(str(case.pk))

    graded = reload(case)
    assert (graded.state, graded.attempt) == (CaseState.GRADED, 1)
    assert graded.outcome.decision == Decision.EARLY
    for image in graded.images:
        found = image.grading
        assert (found.model_version, found.grade, found.quality) == ("graded-1", 1, "good")
        assert found.probabilities == [0.2, 0.6, 0.1, 0.05, 0.05]
        assert found.heatmap == f"{case.hospital_id}/{case.pk}/{image.key}/heatmap-1"
    assert sorted(heatmap_names(case)) == sorted(i.grading.heatmap for i in graded.images)


def test_unreadable_and_rejected_photographs_are_results_and_never_no_dr(worker_with):
    case = queued(right=UNREADABLE, left=REJECTED)

    worker_with(TestGrader()).execute_case(str(case.pk))

    graded = reload(case)
    assert (graded.state, graded.outcome.decision) == (CaseState.GRADED, Decision.RETAKE)
    right, left = (graded.images_of(eye)[0].grading for eye in Laterality)
    assert (right.quality, right.quality_reasons, right.grade) == ("reject", ["unreadable"], None)
    assert (left.quality, left.quality_reasons, left.grade) == ("reject", ["dark"], None)
    assert (right.heatmap, left.heatmap, left.probabilities) == ("", "", [])
    assert right.model_version == left.model_version == "graded-1"


def test_retake_grades_the_new_photograph_and_leaves_the_others_grading(worker_with):
    case = queued(right=REJECTED)
    worker_with(TestGrader("first-1")).execute_case(str(case.pk))
    retaken = submit(add_stored_image(reload(case), Laterality.OD, b"retaken"))
    grader = TestGrader("second-2")

    worker_with(grader).execute_case(str(retaken.pk))

    graded = reload(case)
    assert grader.prepared == [b"retaken"]
    assert graded.outcome.decision == Decision.EARLY
    versions = {image.laterality: image.grading.model_version for image in graded.current_images}
    assert versions == {Laterality.OD: "second-2", Laterality.OS: "first-1"}
    assert len(graded.images) == 3, "the rejected photograph is kept"


def test_missing_or_changed_photograph_is_an_error_that_the_clinic_can_read(worker_with):
    missing = queued()
    default_storage.delete(missing.images[0].original)
    worker_with(TestGrader()).execute_case(str(missing.pk))
    released = reload(missing)
    assert released.state == CaseState.QUEUED
    assert "missing from the store" in released.history[-1].reason

    changed = queued()
    name = changed.images[1].original
    default_storage.delete(name)
    default_storage.save(name, ContentFile(b"other bytes"))
    worker_with(TestGrader()).execute_case(str(changed.pk))
    released = reload(changed)
    assert released.state == CaseState.QUEUED
    assert "not the one that was sent" in released.history[-1].reason
    assert heatmap_names(missing) == heatmap_names(changed) == []


def test_unexpected_error_is_tried_again_and_fails_in_the_end_without_telling_tales(
    worker_with, settings
):
    class Broken(TestGrader):
        def grade(self, prepared):
            raise RuntimeError("secret detail of patient 7")

    settings.GRADING_MAX_ATTEMPTS = 2
    case = queued()
    worker = worker_with(Broken())
    worker.execute_case(str(case.pk))
    assert reload(case).state == CaseState.QUEUED
    worker.execute_case(str(case.pk))

    failed = reload(case)
    assert (failed.state, failed.attempt) == (CaseState.FAILED, 2)
    assert failed.failure == "Grading stopped at an unexpected error."
    assert "secret" not in " ".join(step.reason for step in failed.history)
    worker.execute_case(str(case.pk))
    assert reload(case).attempt == 2, "a late hint finds nothing to take"


def test_hint_delivered_twenty_times_makes_one_attempt_and_one_result(worker_with, background):
    case = queued()
    workers = [worker_with(TestGrader()) for _ in range(4)]

    hints = [background(workers[n % 4].execute_case, str(case.pk)) for n in range(20)]
    for hint in hints:
        hint.result(TIMEOUT_S)

    graded = reload(case)
    assert (graded.state, graded.attempt) == (CaseState.GRADED, 1)
    assert [step.state for step in graded.history] == ["queued", "grading", "graded"]
    assert len(heatmap_names(case)) == 2


def test_worker_that_lost_its_lease_writes_nothing_and_leaves_no_file(
    worker_with, background, settings
):
    settings.GRADING_LEASE_S = 0
    gate = threading.Event()
    slow = TestGrader("slow-1", gate)
    late, owner = worker_with(slow), worker_with(TestGrader("quick-1"))
    case = queued()
    lost = background(late.execute_case, str(case.pk))
    assert slow.entered.wait(TIMEOUT_S)
    owner.execute_case(str(case.pk))
    late.beat()
    assert [work.abandoned for work in late.in_hand] == [True]
    gate.set()
    lost.result(TIMEOUT_S)

    graded = reload(case)
    assert {image.grading.model_version for image in graded.images} == {"quick-1"}
    assert sorted(heatmap_names(case)) == sorted(i.grading.heatmap for i in graded.images)
    assert len(late.in_hand) == 0


def test_lost_lease_is_noticed_at_the_write_too(worker_with, background, settings):
    settings.GRADING_LEASE_S = 0
    gate = threading.Event()
    slow = TestGrader("slow-1", gate)
    late, owner = worker_with(slow), worker_with(TestGrader("quick-1"))
    case = queued()
    lost = background(late.execute_case, str(case.pk))
    assert slow.entered.wait(TIMEOUT_S)
    owner.execute_case(str(case.pk))
    gate.set()
    lost.result(TIMEOUT_S)

    graded = reload(case)
    assert {image.grading.model_version for image in graded.images} == {"quick-1"}
    assert sorted(heatmap_names(case)) == sorted(i.grading.heatmap for i in graded.images)


def test_heartbeat_keeps_a_long_case_and_tells_how_the_worker_is(
    worker_with, background, settings, redis_service
):
    gate = threading.Event()
    slow = TestGrader(gate=gate)
    worker = worker_with(slow)
    case = queued()
    graded = background(worker.execute_case, str(case.pk))
    assert slow.entered.wait(TIMEOUT_S)
    due_before = reload(case).due_at
    settings.GRADING_LEASE_S = 600
    worker.beat()

    assert (reload(case).due_at - due_before).total_seconds() > 300
    status = status_of("W")
    assert (status.ready, status.cases_in_work) == (True, 1)
    assert (status.model_version, status.reason) == ("graded-1", "")
    gate.set()
    graded.result(TIMEOUT_S)
    worker.stop()
    assert status_of("W") is None


def test_watchdog_takes_a_stuck_case_away_and_ends_a_process_that_does_not_let_go(
    worker_with, background, settings, exits
):
    settings.GRADING_LIMIT_S = 0.2
    gate, entered = threading.Event(), threading.Event()

    class StuckDecoder(TestGrader):
        def prepare(self, content):
            entered.set()
            assert gate.wait(TIMEOUT_S)
            return super().prepare(content)

    worker = worker_with(StuckDecoder())
    case = queued()
    stuck = background(worker.execute_case, str(case.pk))
    assert entered.wait(TIMEOUT_S)
    worker.watch()
    assert reload(case).state == CaseState.GRADING
    time.sleep(0.25)
    worker.watch()
    released = reload(case)
    assert (released.state, released.history[-1].reason) == (CaseState.QUEUED, TOOK_TOO_LONG)
    assert exits == []
    time.sleep(0.2)
    worker.watch()
    assert exits == [EXIT_STUCK]
    gate.set()
    stuck.result(TIMEOUT_S)

    assert reload(case).state == CaseState.QUEUED
    assert heatmap_names(case) == []


def test_watchdog_ends_a_process_whose_engine_hangs_and_gives_its_cases_back(
    worker_with, background, settings, exits
):
    gate = threading.Event()
    hung = TestGrader(gate=gate)
    worker = worker_with(hung)
    case = queued()
    stuck = background(worker.execute_case, str(case.pk))
    assert hung.entered.wait(TIMEOUT_S)
    worker.watch()
    assert exits == []
    settings.GRADING_LIMIT_S = 0
    worker.watch()

    assert exits == [EXIT_STUCK]
    released = reload(case)
    assert (released.state, released.history[-1].reason) == (CaseState.QUEUED, ENGINE_STUCK)
    gate.set()
    stuck.result(TIMEOUT_S)
    assert reload(case).state == CaseState.QUEUED


def test_worker_that_is_stopped_gives_back_what_it_could_not_finish(
    worker_with, background, monkeypatch
):
    monkeypatch.setattr("inference.worker.SHUTDOWN_GRACE_S", 0.2)
    gate = threading.Event()
    slow = TestGrader(gate=gate)
    worker = worker_with(slow)
    case, other = queued(), queued()
    held = background(worker.execute_case, str(case.pk))
    assert slow.entered.wait(TIMEOUT_S)

    worker.drain()

    released = reload(case)
    assert (released.state, released.history[-1].reason) == (CaseState.QUEUED, WORKER_STOPPED)
    gate.set()
    held.result(TIMEOUT_S)
    assert reload(case).state == CaseState.QUEUED
    worker.execute_case(str(other.pk))
    assert reload(other).attempt == 0, "a worker that ends takes nothing on"


def test_attention_maps_stay_when_it_is_not_certain_that_the_result_was_not_written(
    worker_with, monkeypatch
):
    def written_but_unheard(*, case, results):
        case_complete(case=case, results=results)
        raise ConnectionError("the answer was lost")

    monkeypatch.setattr("inference.grading.case_complete", written_but_unheard)
    case = queued()

    worker_with(TestGrader()).execute_case(str(case.pk))

    graded = reload(case)
    assert graded.state == CaseState.GRADED
    assert sorted(heatmap_names(case)) == sorted(i.grading.heatmap for i in graded.images)


def test_worker_without_a_model_takes_nothing(worker_with):
    case = queued()
    worker = GradingWorker("W")

    worker.execute_case(str(case.pk))

    now = reload(case)
    assert (now.state, now.attempt) == (CaseState.QUEUED, 0)
    assert not worker.status().ready
    with pytest.raises(ModelUnavailable), worker.models.in_use():
        pass
    worker.stop()
