"""What names a patient rests sealed: no byte of it is in the database, and pages show it still."""

import logging

import pytest
from bson import ObjectId
from django.core.exceptions import FieldError
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from accounts.keys import fields as sealed_fields
from accounts.keys.key_ring import HOSPITAL_KEYS, forget_keys
from accounts.keys.sealing import UNREADABLE
from accounts.scoping import ScopeError, every_hospital, hospital_scope
from accounts.tests.factories import make_hospital
from drservice.testing.dumps import raw_database
from drservice.testing.pages import searched
from workspace.case_parts import PatientCopy
from workspace.models import Case, Patient
from workspace.services import case_claim
from workspace.tests.factories import make_case, make_patient, make_queued_case
from workspace.tests.pictures import upload

pytestmark = pytest.mark.django_db(transaction=True)

PATIENT = {
    "mrn": "Quokka-77310",
    "name": "Wilhelmina Ångström",
    "birth_date": "1961-04-02",
    "sex": "F",
    "diabetes_type": "2",
    "diabetes_since_year": "2010",
    "phone": "+44 20 7946 0958",
    "email": "mina.angstroem@post.example",
}
CORRECTED = {**PATIENT, "name": "Wilhelmina Lindqvist", "phone": "+44 20 7946 0333"}
DETAILS = {"camera": "Canon CR-2", "notes": "Mrs Ångström keeps a zebrafinch"}
WRONG = {"reason": "Those were the eyes of Okonjo"}
IDENTIFIERS = [
    *("Wilhelmina", "Ångström", "Lindqvist", "Quokka", "77310", "7946"),
    *("mina.angstroem", "post.example", "zebrafinch", "Okonjo", "Brandt"),
]


def url(name: str, *args) -> str:
    return reverse(f"workspace:{name}", args=args)


def text_of(response) -> str:
    return response.content.decode()


def test_database_shows_no_name(two_hospitals, client_of):
    client, hospital = client_of(two_hospitals.a.staff), two_hospitals.a.hospital
    assert client.post(url("patient-create"), PATIENT).status_code == 302
    with hospital_scope(hospital.pk):
        patient = Patient.objects.get()
    client.post(url("case-create", patient.pk))
    with hospital_scope(hospital.pk):
        case = Case.objects.get()
    for laterality in ("OD", "OS"):
        photograph = {"files": [upload(f"Ångström {laterality}.jpg")], "laterality": laterality}
        client.post(url("case-image-add", case.pk), photograph)
    client.post(url("case-submit", case.pk), DETAILS)
    assert client.post(url("patient-update", patient.pk), CORRECTED).status_code == 302
    with hospital_scope(hospital.pk):
        case = Case.objects.get()
    assert case.waiting

    shown = text_of(client.get(url("patient-detail", patient.pk)))
    assert CORRECTED["name"] in shown
    assert CORRECTED["mrn"] in shown
    assert "Lindqvist" in text_of(client.get(url("case-detail", case.pk)))
    assert "Lindqvist" in text_of(client.get(url("case-list")))
    for search in ("lindq", "quokka-773", "wilhel lind"):
        assert "Lindqvist" in text_of(searched(client, url("patient-list"), search))
    with hospital_scope(hospital.pk):
        stored = Patient.objects.get()
        assert (stored.phone, stored.email) == (CORRECTED["phone"], CORRECTED["email"])
        assert Case.objects.get().notes == DETAILS["notes"]

    made = {"absent_eye": "OS", "absent_eye_reason": "Lost in 1999, says Dr Brandt"}
    client.post(url("case-create", patient.pk))
    with hospital_scope(hospital.pk):
        draft = Case.objects.exclude(pk=case.pk).get()
    page = client.post(url("case-details", draft.pk), {**made, "version": draft.version})
    assert page.status_code == 302
    assert "Dr Brandt" in text_of(client.get(url("case-detail", draft.pk)))
    client.post(url("case-cancel", draft.pk), WRONG)
    assert "Okonjo" in text_of(client.get(url("case-detail", draft.pk)))

    found = [
        (collection, identifier)
        for collection, dump in raw_database().items()
        for identifier in IDENTIFIERS
        for word in {identifier, identifier.lower(), identifier.casefold(), identifier.upper()}
        if word.encode() in dump
    ]
    assert not found


def test_scan_would_see_a_name_that_is_not_sealed():
    patient = make_patient(make_hospital(), name="Wilhelmina Plain")
    connection.database.workspace_patient.update_one(
        {"_id": patient.pk}, {"$set": {"forgotten": patient.name}}
    )
    assert b"Wilhelmina" in raw_database()["workspace_patient"]


def test_what_is_left_empty_stays_empty():
    patient = make_patient(make_hospital(), phone="", email="")
    stored = connection.database.workspace_patient.find_one({"_id": patient.pk})
    assert (stored["phone"], stored["email"]) == ("", "")


@pytest.mark.parametrize("lookup", ["name", "name__icontains", "name__in", "mrn", "email__regex"])
def test_sealed_field_can_not_be_searched_in_silence(lookup):
    with hospital_scope(make_hospital().pk), pytest.raises(FieldError, match="use a keyed hash"):
        Patient.objects.filter(**{lookup: "x"}).exists()


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Collect the purpose of every value that is unsealed."""
    purposes, unseal = [], sealed_fields.unseal_bytes

    def unseal_and_note(stored: bytes, *, purpose: str) -> bytes:
        purposes.append(purpose)
        return unseal(stored, purpose=purpose)

    monkeypatch.setattr(sealed_fields, "unseal_bytes", unseal_and_note)
    return purposes


def test_worker_that_claims_a_case_opens_nothing(opened):
    case = make_queued_case(make_patient(make_hospital()))
    opened.clear()
    claimed = case_claim(case_pk=str(case.pk), worker="test")
    assert opened == []
    assert claimed.patient_copy.name == case.patient_copy.name
    assert claimed.patient_copy.name
    assert set(opened) == {"workspace.patientcopy.name"}


def test_what_nobody_looked_at_is_written_back_as_it_was(opened):
    patient = make_patient(make_hospital(), phone="1 2 3")
    before = connection.database.workspace_patient.find_one({"_id": patient.pk})
    with hospital_scope(patient.hospital_id):
        again = Patient.objects.get(pk=patient.pk)
        again.consent_training = True
        again.save()
    after = connection.database.workspace_patient.find_one({"_id": patient.pk})
    assert after == {**before, "consent_training": True}
    assert opened == []


def test_value_is_sealed_for_the_open_hospital_or_not_at_all():
    patient = make_patient(make_hospital())
    with hospital_scope(patient.hospital_id):
        Patient.objects.filter(pk=patient.pk).update(phone="1 2 3")
        assert Patient.objects.get(pk=patient.pk).phone == "1 2 3"
    with every_hospital("a test"), pytest.raises(FieldError, match="one hospital's scope"):
        Patient.objects.filter(pk=patient.pk).update(phone="4 5 6")
    field = PatientCopy._meta.get_field("name")
    with pytest.raises(ScopeError):
        field.get_db_prep_save("a name", connection)


def test_value_of_another_field_or_hospital_does_not_open(caplog):
    patient, other = make_patient(make_hospital(), phone="1"), make_patient(make_hospital())
    patients = connection.database.workspace_patient
    stored = patients.find_one({"_id": patient.pk})
    patients.update_one({"_id": patient.pk}, {"$set": {"name": stored["phone"]}})
    patients.update_one({"_id": other.pk}, {"$set": {"name": stored["name"]}})
    with hospital_scope(patient.hospital_id), caplog.at_level(logging.ERROR):
        assert Patient.objects.get(pk=patient.pk).name == UNREADABLE
    assert "seal_broken field=workspace.patient.name" in caplog.text
    with hospital_scope(other.hospital_id), pytest.raises(ScopeError):
        _ = Patient.objects.get(pk=other.pk).name


def destroy_key(hospital_id: ObjectId) -> None:
    connection.database[HOSPITAL_KEYS].update_one(
        {"hospital_id": hospital_id},
        {"$set": {"versions.$[].wrapped": b"", "destroyed_at": timezone.now()}},
    )
    forget_keys()


def test_destroyed_key_leaves_pages_that_say_so(two_hospitals, client_of):
    hospital, client = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)
    patient = make_patient(hospital, name="Wilhelmina", email="w@post.example")
    case = make_case(patient, notes="Secret notes")
    neighbour = make_patient(two_hospitals.b.hospital, name="Neighbour")
    destroy_key(hospital.pk)

    for page in (
        *(url("case-list"), url("patient-list"), url("patient-detail", patient.pk)),
        *(url("case-detail", case.pk), url("case-create", patient.pk)),
        url("case-status", case.pk),
    ):
        answer = client.get(page)
        assert answer.status_code == 200, page
        assert "Wilhelmina" not in text_of(answer)
        assert "Secret notes" not in text_of(answer)
    for page in (url("case-list"), url("patient-list"), url("patient-detail", patient.pk)):
        assert UNREADABLE in text_of(client.get(page))
    assert "Nobody found" in text_of(searched(client, url("patient-list"), "wilhelmina"))
    with hospital_scope(two_hospitals.b.hospital.pk):
        assert Patient.objects.get(pk=neighbour.pk).name == "Neighbour"


def test_destroyed_key_refuses_what_would_be_sealed(two_hospitals, client_of):
    hospital, client = two_hospitals.a.hospital, client_of(two_hospitals.a.staff)
    patient = make_patient(hospital)
    case = make_case(patient)
    destroy_key(hospital.pk)
    before = raw_database()["workspace_patient"] + raw_database()["workspace_case"]

    answer = client.post(url("patient-create"), {**PATIENT, "mrn": "N-9"})
    assert answer.status_code == 422
    assert "has been destroyed" in text_of(answer)
    for page in (url("case-create", patient.pk), url("patient-update", patient.pk)):
        answer = client.post(page, {**PATIENT, "mrn": "N-9"}, follow=True)
        assert len(answer.redirect_chain) == 1
        assert "has been destroyed" in text_of(answer)
    answer = client.post(url("case-details", case.pk), {**DETAILS, "version": case.version})
    assert answer.status_code == 409
    assert "has been destroyed" in text_of(answer)
    assert raw_database()["workspace_patient"] + raw_database()["workspace_case"] == before
