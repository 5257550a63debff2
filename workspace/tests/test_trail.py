"""Every act on a record leaves its event, and is not done when the event can't be kept."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.db import connection
from django.urls import reverse

from accounts.audit.actions import Action
from accounts.audit.errors import AuditUnavailable
from accounts.audit.models import AuditEvent
from accounts.audit.selectors import ToldEvent, events_told
from accounts.models import Hospital
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from workspace.image_services import image_add, image_label, image_remove
from workspace.models import Case, Patient
from workspace.patients.registering import patient_create, patient_update
from workspace.services import (
    case_amend,
    case_cancel,
    case_claim,
    case_complete,
    case_create,
    case_end_retakes,
    case_release,
    case_submit,
    cases_reconcile,
)
from workspace.tests.factories import (
    make_case,
    make_graded_case,
    make_patient,
    make_queued_case,
    make_result,
)
from workspace.tests.pictures import upload

pytestmark = pytest.mark.django_db(transaction=True)

FACTS = {"mrn": "M-1", "name": "Ada Test", "birth_date": dt.date(1950, 2, 3)}


def events_of(hospital: Hospital) -> list[ToldEvent]:
    with hospital_scope(hospital.pk):
        events = AuditEvent.objects.order_by("seq")
    return events_told(events, hospital_id=hospital.pk)


def state_of(hospital: Hospital) -> list:
    """Return everything that is stored of a hospital's patients and cases."""
    names = [model._meta.db_table for model in (Patient, Case)]
    stored = [connection.get_collection(name).find({"hospital_id": hospital.pk}) for name in names]
    return [list(found.sort("_id")) for found in stored]


def claimed(hospital: Hospital) -> Case:
    return case_claim(case_pk=str(make_queued_case(make_patient(hospital)).pk), worker="node-1")


def worn_out(hospital: Hospital) -> Case:
    case = claimed(hospital)
    with hospital_scope(hospital.pk):
        Case.objects.filter(pk=case.pk).update(attempt_limit=case.attempt)
        return Case.objects.get(pk=case.pk)


def overdue(hospital: Hospital) -> Case:
    case = worn_out(hospital)
    with hospital_scope(hospital.pk):
        Case.objects.filter(pk=case.pk).update(due_at=case.created_at - dt.timedelta(hours=1))
    return case


def drafted(hospital: Hospital) -> Case:
    return make_case(make_patient(hospital))


def complete(case: Case):
    return case_complete(case=case, results=[make_result(image) for image in case.images])


@dataclass(frozen=True)
class Act:
    """Something that is done: what it is done to, how, and what the trail says of it."""

    action: Action
    kind: str
    make: Callable[[Hospital], object]
    do: Callable[[object], object]
    told: str


ACTS = {
    "patient_create": Act(
        Action.CREATE,
        "patient",
        lambda hospital: hospital,
        lambda hospital: patient_create(hospital_id=hospital.pk, **FACTS),
        "Ada Test",
    ),
    "patient_update": Act(
        Action.CHANGE,
        "patient",
        lambda hospital: make_patient(hospital, name="Ada Old"),
        lambda patient: patient_update(patient=patient, name="Ada New"),
        "{'name': 'Ada Old'} {'name': 'Ada New'}",
    ),
    "case_create": Act(
        Action.CREATE,
        "case",
        make_patient,
        lambda patient: case_create(patient=patient, by="A nurse"),
        "draft",
    ),
    "case_amend": Act(
        Action.CHANGE,
        "case",
        drafted,
        lambda case: case_amend(case=case, version=None, values={"notes": "Cataract"}),
        "{'notes': ''} {'notes': 'Cataract'}",
    ),
    "case_submit": Act(
        Action.SUBMIT, "case", drafted, lambda case: case_submit(case=case, by="A nurse"), "queued"
    ),
    "case_cancel": Act(
        Action.CANCEL,
        "case",
        drafted,
        lambda case: case_cancel(case=case, by="A nurse", reason="Wrong person"),
        "Wrong person",
    ),
    "case_end_retakes": Act(
        Action.END_RETAKES,
        "case",
        lambda hospital: make_graded_case(make_patient(hospital), right=None),
        lambda case: case_end_retakes(case=case, by="A nurse", reason="Went home"),
        "Went home",
    ),
    "case_complete": Act(Action.GRADE, "case", claimed, complete, "graded"),
    "case_give_up": Act(
        Action.GIVE_UP,
        "case",
        worn_out,
        lambda case: case_release(case=case, reason="No memory"),
        "No memory",
    ),
    "image_add": Act(
        Action.CREATE,
        "photograph",
        lambda hospital: make_case(make_patient(hospital), lateralities=()),
        lambda case: image_add(case=case, file=upload(), by="A nurse", laterality="OD"),
        "OD",
    ),
    "image_label": Act(
        Action.CHANGE,
        "photograph",
        drafted,
        lambda case: image_label(
            case=case, key=case.images[0].key, laterality="OS", field="macula"
        ),
        "{'laterality': 'OD'} {'laterality': 'OS'}",
    ),
    "image_remove": Act(
        Action.DELETE,
        "photograph",
        drafted,
        lambda case: image_remove(case=case, key=case.images[0].key),
        "sha256",
    ),
}


@pytest.mark.parametrize("name", ACTS)
def test_act_leaves_its_event_and_is_not_done_without(name, audit_refused):
    act, hospital = ACTS[name], make_hospital()
    target = act.make(hospital)
    before, events = state_of(hospital), len(events_of(hospital))
    with hospital_scope(hospital.pk):
        with audit_refused(), pytest.raises(AuditUnavailable):
            act.do(target)
        assert state_of(hospital) == before
        assert len(events_of(hospital)) == events
        act.do(type(target).objects.get(pk=target.pk))
    assert state_of(hospital) != before
    *_, told = events_of(hospital)
    assert len(events_of(hospital)) == events + 1
    assert (told.event.action, told.event.subject_kind) == (act.action, act.kind)
    assert told.event.patient_id is not None
    assert act.told in f"{told.before} {told.after} {told.reason}"


def test_worker_is_named_as_the_actor_of_its_result():
    hospital = make_hospital()
    complete(claimed(hospital))
    complete_event = events_of(hospital)[-1]
    assert complete_event.event.actor_kind == "worker"
    assert complete_event.name == "node-1"


def test_sweep_that_gives_a_case_up_leaves_an_event_of_the_service():
    hospital = make_hospital()
    overdue(hospital)
    cases_reconcile()
    told = events_of(hospital)[-1]
    assert (told.event.action, told.event.actor_kind) == (Action.GIVE_UP, "service")


@pytest.fixture
def nurse(two_hospitals, client_of):
    return client_of(two_hospitals.a.staff)


@pytest.fixture
def shown(two_hospitals, nurse):
    """Pages that show a patient's record, with what the trail calls each."""
    case = make_case(make_patient(two_hospitals.a.hospital, name="Ada Test"), lateralities=())
    with hospital_scope(case.hospital_id):
        image = image_add(case=case, file=upload(), by="A nurse").image
    search = reverse("workspace:patient-list")
    return {
        "patient": reverse("workspace:patient-detail", args=[case.patient_id]),
        "case": reverse("workspace:case-detail", args=[case.pk]),
        "patients": nurse.post(search, {"words": "ada"}).url,
        "photograph": reverse("workspace:image-original", args=[case.pk, image.key]),
    }


def test_pages_that_show_a_record_are_kept_and_show_nothing_without(
    two_hospitals, shown, nurse, audit_refused
):
    client, hospital = nurse, two_hospitals.a.hospital
    for kind, address in shown.items():
        with audit_refused():
            refused = client.get(address)
        assert refused.status_code == 503
        assert "Ada" not in refused.text
        assert "nothing is shown" in refused.text
        began = len(events_of(hospital))
        client.get(address)
        *_, told = events_of(hospital)
        assert len(events_of(hospital)) == began + 1, kind
        assert told.event.subject_kind == kind
        assert told.event.actor_id == str(two_hospitals.a.staff.pk)
        assert told.name == two_hospitals.a.staff.name


def test_change_on_a_page_is_answered_503_and_not_made(two_hospitals, client_of, audit_refused):
    hospital = two_hospitals.a.hospital
    case = make_case(make_patient(hospital))
    client, before = client_of(two_hospitals.a.staff), state_of(hospital)
    with audit_refused():
        answer = client.post(reverse("workspace:case-submit", args=[case.pk]))
    assert answer.status_code == 503
    assert state_of(hospital) == before


def test_search_keeps_whom_it_showed_and_not_its_words(two_hospitals, shown, nurse):
    nurse.get(shown["patients"])
    told = events_of(two_hospitals.a.hospital)[-1]
    with hospital_scope(two_hospitals.a.hospital.pk):
        assert told.after == {"found": [str(Patient.objects.get().pk)]}


def test_open_page_that_looks_again_is_kept_once(two_hospitals, shown, client_of):
    client, other = client_of(two_hospitals.a.staff), client_of(two_hospitals.a.grader)
    began = len(events_of(two_hospitals.a.hospital))
    client.get(shown["case"], headers={"X-Background": "1"})
    assert len(events_of(two_hospitals.a.hospital)) == began + 1
    for _ in range(3):
        client.get(shown["case"], headers={"X-Background": "1"})
    assert len(events_of(two_hospitals.a.hospital)) == began + 1
    other.get(shown["case"], headers={"X-Background": "1"})
    assert len(events_of(two_hospitals.a.hospital)) == began + 2


def test_refused_door_is_kept_with_what_was_asked(two_hospitals, shown, client_of, audit_refused):
    address = shown["patient"]
    stranger_client = client_of(two_hospitals.b.staff)
    assert stranger_client.get(address).status_code == 404
    told = events_of(two_hospitals.b.hospital)[-1]
    assert told.event.action == Action.DENIED
    assert told.event.subject_kind == "workspace:patient-detail"
    assert told.event.subject_id in address
    assert told.after == {"method": "GET", "answer": 404}
    assert events_of(two_hospitals.a.hospital)[-1].event.action != Action.DENIED
    with audit_refused():
        assert stranger_client.get(address).status_code == 503
    colleague = client_of(two_hospitals.a.admin)
    assert colleague.get(address).status_code == 403
    assert events_of(two_hospitals.a.hospital)[-1].after["answer"] == 403
