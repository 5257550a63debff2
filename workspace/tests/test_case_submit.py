"""Submitting: what is missing is said, and twenty clicks are one."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from workspace import services
from workspace.models import Case
from workspace.schemas import CaseState, Laterality
from workspace.services import (
    CaseConflict,
    CaseIncomplete,
    case_amend,
    case_gaps,
    case_start,
    case_submit,
)
from workspace.tests.factories import make_case, make_graded_case, make_image, make_patient

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hospital(db):
    hospital = make_hospital()
    with hospital_scope(hospital.pk):
        yield hospital


@pytest.fixture
def hints(monkeypatch) -> list[str]:
    """Collect the hints that would go to Celery."""
    sent: list[str] = []
    monkeypatch.setattr(services, "hint_send", lambda case: sent.append(str(case.pk)) or True)
    return sent


def test_twenty_parallel_submits_send_one_hint(hospital, hints):
    case = make_case(make_patient(hospital))
    seen = [Case.objects.get(pk=case.pk) for _ in range(20)]

    def submit(case: Case) -> str:
        with hospital_scope(hospital.pk):
            state = case_submit(case=case, by="A nurse").state
        connection.close()
        return state

    with ThreadPoolExecutor(max_workers=20) as pool:
        states = list(pool.map(submit, seen))

    assert states == [CaseState.QUEUED] * 20
    assert hints == [str(case.pk)]
    stored = Case.objects.get(pk=case.pk)
    assert (len(stored.history), stored.tries) == (1, 1)


def test_case_gaps_say_what_is_missing_until_nothing_is(hospital, hints):
    case = case_start(patient=make_patient(hospital), by="A nurse")
    assert case_start(patient=case.patient, by="Another nurse").pk == case.pk
    assert [gap.split(".")[0] for gap in case_gaps(case)] == [
        "There is no photograph of the right eye",
        "There is no photograph of the left eye",
    ]
    case = Case.objects.add_image(pk=case.pk, image=make_image())
    assert case_gaps(case)[0] == "Say for every photograph which eye it shows."
    with pytest.raises(CaseIncomplete):
        case_submit(case=case, by="A nurse")
    case = Case.objects.label_image(
        pk=case.pk, key=case.images[0].key, laterality=Laterality.OS, field="macula"
    )
    reason = {"absent_eye": "OD", "absent_eye_reason": "artificial eye"}
    case = case_amend(case=case, version=case.version, values=reason)
    assert case_gaps(case) == []
    assert case_submit(case=case, by="A nurse").state == CaseState.QUEUED
    assert case_start(patient=case.patient, by="A nurse").pk != case.pk


def test_case_amend_and_submit_refuse_what_somebody_else_changed(hospital, hints):
    case = make_case(make_patient(hospital))
    case_amend(case=case, version=case.version, values={"camera": "The first"})

    with pytest.raises(CaseConflict):
        case_amend(case=case, version=case.version, values={"camera": "The second"})
    with pytest.raises(CaseConflict):
        case_submit(case=case, by="A nurse")
    assert Case.objects.get(pk=case.pk).camera == "The first"
    assert hints == []


def test_case_that_is_graded_for_good_takes_no_further_submit(hospital):
    case = make_graded_case(make_patient(hospital))

    with pytest.raises(CaseConflict, match="graded; it can't be changed"):
        case_submit(case=case, by="A nurse")
