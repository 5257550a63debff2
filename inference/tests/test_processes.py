"""Real workers, killed, starved and misled: nothing is lost and nothing is written twice."""

import pytest
from django.core.files.storage import default_storage

from inference.tests.factories import make_stored_case, reload, submit
from workspace.schemas import CaseState

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

READY = r" ready\."


def all_in(cases, state) -> bool:
    return all(reload(case).state == state for case in cases)


def test_a_submitted_case_is_graded_within_a_moment(two_hospitals, worker_process):
    case = make_stored_case(two_hospitals.a.hospital)
    with worker_process() as worker:
        worker.wait_for_line(READY)
        submit(case)
        worker.wait_until(lambda: reload(case).state == CaseState.GRADED, "the case graded", 10)

    graded = reload(case)
    assert graded.attempt == 1
    for image in graded.images:
        assert image.grading.model_version == "paced-0"
        assert default_storage.exists(image.grading.heatmap)
