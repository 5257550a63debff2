"""A visit that was marked as entered in error by mistake comes back, or it is said why it can't."""

import pytest
from django.db import connection
from django.urls import reverse

from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent
from accounts.audit.selectors import events_told
from accounts.scoping import hospital_scope
from workspace import image_services
from workspace.image_services import PhotographInAnotherCase, image_add
from workspace.models import Case
from workspace.patients.keeping import last_visit
from workspace.patients.merging import patient_merge
from workspace.schemas import CaseState
from workspace.services import (
    CaseConflict,
    PhotographsElsewhere,
    case_cancel,
    case_claim,
    case_complete,
    case_reinstate,
    case_submit,
    case_void,
    cases_reconcile,
)
from workspace.tests.factories import (
    make_case,
    make_graded_case,
    make_image,
    make_patient,
    make_queued_case,
    make_result,
)
from workspace.tests.pictures import picture_bytes, upload

pytestmark = pytest.mark.django_db(transaction=True)

WRONG = {"by": "A nurse", "reason": "Of another patient"}
RIGHT = {"by": "Another nurse", "reason": "Compared with the camera's list"}
# What a step through the states leaves behind.
STEPS = {"version", "history"}


@pytest.fixture
def hospital(two_hospitals):
    with hospital_scope(two_hospitals.a.hospital.pk):
        yield two_hospitals.a.hospital


@pytest.fixture
def nurse(two_hospitals, client_of):
    return client_of(two_hospitals.a.staff)


def url(name: str, *args) -> str:
    return reverse(f"workspace:{name}", args=args)


def stored(case: Case) -> dict:
    found = connection.database.workspace_case.find_one({"_id": case.pk})
    return {name: value for name, value in found.items() if name not in STEPS}


def test_visit_comes_back_as_it_was_and_both_steps_are_kept(hospital, nurse):
    case = make_graded_case(make_patient(hospital), right=4)
    before, page = stored(case), url("case-detail", case.pk)
    nurse.post(url("case-void", case.pk), {"reason": WRONG["reason"]})
    assert "This visit was right after all" in nurse.get(page).text
    unsaid = nurse.post(url("case-reinstate", case.pk), {"reason": " "}, follow=True)
    assert "how you know that this visit was right" in unsaid.text
    assert stored(case)["state"] == CaseState.VOIDED

    done = nurse.post(url("case-reinstate", case.pk), {"reason": RIGHT["reason"]}, follow=True)

    assert "This visit counts again" in done.text
    assert "Refer urgently" in done.text
    assert stored(case) == before
    for state in ("", "urgent", "graded"):
        assert case.reference in nurse.get(url("case-list"), {"state": state}).text
    steps = Case.objects.get(pk=case.pk).history[-2:]
    assert [step.state for step in steps] == [CaseState.VOIDED, CaseState.GRADED]
    assert [step.why for step in steps] == [WRONG["reason"], RIGHT["reason"]]
    events = AuditEvent.objects.filter(subject_id=str(case.pk), action=Action.REINSTATE)
    [told] = events_told(events, hospital_id=hospital.pk)
    assert (told.before, told.after) == ({"state": "voided"}, {"state": "graded"})
    assert told.reason == RIGHT["reason"]


def test_visit_that_failed_at_its_retake_comes_back_failed_with_its_reason(hospital):
    case = make_graded_case(make_patient(hospital), right=None)
    for image in case.images:
        Case.objects.add_image(pk=case.pk, image=make_image(image.laterality))
    case = case_submit(case=Case.objects.get(pk=case.pk), by="A nurse")
    Case.objects.filter(pk=case.pk).update(attempt=case.attempt_limit, due_at=case.submitted_at)
    cases_reconcile()
    failed = Case.objects.get(pk=case.pk)
    assert failed.state == CaseState.FAILED
    before = stored(case)
    case_reinstate(case=case_void(case=failed, **WRONG), **RIGHT)
    assert stored(case) == before
    assert before["failure"]


def test_visit_comes_back_to_the_record_that_it_moved_to(hospital, nurse):
    stays, goes = make_patient(hospital), make_patient(hospital)
    case = case_void(case=make_graded_case(goes), **WRONG)
    patient_merge(survivor=stays, merged=goes, by="A nurse", reason="One person")
    page = nurse.get(url("case-detail", case.pk)).text
    assert f"Marked by {WRONG['by']}" in page
    assert f": {WRONG['reason']}." in page
    with pytest.raises(CaseConflict):
        case_reinstate(case=case, **RIGHT)
    case = case_reinstate(case=Case.objects.get(pk=case.pk), **RIGHT)
    assert (case.patient_id, case.state) == (stays.pk, CaseState.GRADED)


def test_visit_counts_again_for_how_long_its_record_is_kept(hospital):
    patient = make_patient(hospital)
    case = make_graded_case(patient)
    visited = last_visit(patient)
    voided = case_void(case=case, **WRONG)
    assert last_visit(patient) != visited
    case_reinstate(case=voided, **RIGHT)
    assert last_visit(patient) == visited


def test_only_a_visit_that_is_marked_comes_back_and_once(hospital, nurse):
    patient = make_patient(hospital)
    others = [make_case(patient), make_queued_case(patient), make_graded_case(patient)]
    others.append(case_cancel(case=make_case(patient), by="A nurse", reason="No"))
    for case in others:
        before = stored(case)
        again = nurse.post(url("case-reinstate", case.pk), {"reason": "Right"}, follow=True)
        assert "Somebody else changed this case" in again.text
        assert stored(case) == before
    voided = case_void(case=others[2], **WRONG)
    case_reinstate(case=voided, **RIGHT)
    with pytest.raises(CaseConflict):
        case_reinstate(case=voided, **RIGHT)


def test_visit_stays_out_while_another_one_has_its_photographs(hospital, nurse):
    case = make_graded_case(make_patient(hospital))
    voided = case_void(case=case, **WRONG)
    right_one = make_case(make_patient(hospital), lateralities=())
    Case.objects.add_image(pk=right_one.pk, image=make_image("OD", sha256=case.images[0].sha256))

    page = nurse.get(url("case-detail", case.pk)).text
    assert f'href="{url("case-detail", right_one.pk)}"' in page
    assert "this can't be taken back" in " ".join(page.split())
    assert "This visit was right after all" not in page
    refused = nurse.post(url("case-reinstate", case.pk), {"reason": "Right"}, follow=True)
    assert f"in case {right_one.reference} by now" in refused.text
    with pytest.raises(PhotographsElsewhere):
        case_reinstate(case=voided, **RIGHT)
    assert stored(case)["state"] == CaseState.VOIDED

    case_cancel(case=Case.objects.get(pk=right_one.pk), by="A nurse", reason="Not this one")
    assert case_reinstate(case=voided, **RIGHT).state == CaseState.GRADED


def test_of_an_upload_and_a_visit_that_comes_back_one_has_the_photograph(hospital, monkeypatch):
    """The visit comes back while the same photograph is being stored for another one."""
    picture = picture_bytes()
    case = make_case(make_patient(hospital), lateralities=("OS",))
    case = image_add(case=case, file=upload(content=picture), by="A nurse", laterality="OD").case
    voided = case_void(case=graded(case_submit(case=case, by="A nurse")), **WRONG)
    other = make_case(make_patient(hospital), lateralities=())
    store = image_services._image_store

    def store_meanwhile(*arguments):
        case_reinstate(case=voided, **RIGHT)
        return store(*arguments)

    monkeypatch.setattr(image_services, "_image_store", store_meanwhile)
    with pytest.raises(PhotographInAnotherCase):
        image_add(case=other, file=upload(content=picture), by="A nurse")
    assert Case.objects.get(pk=case.pk).state == CaseState.GRADED
    assert Case.objects.get(pk=other.pk).images == []


def graded(case: Case) -> Case:
    claimed = case_claim(case_pk=str(case.pk), worker="test")
    return case_complete(case=claimed, results=[make_result(one) for one in claimed.images])
