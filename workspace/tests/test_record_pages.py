"""The pages of merging, exporting, keeping and erasing, as staff and admins use them."""

import datetime as dt
import hashlib
import io
import json
import zipfile
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import cache
from django.urls import reverse

from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent
from accounts.scoping import hospital_scope
from drservice.testing.pages import searched
from workspace.models import Case, Erasure, Patient, RetentionPolicy
from workspace.patients.merging import patient_merge
from workspace.tests.factories import graded_case_with_files, make_case, make_patient
from workspace.views.exports import EXPORTS

pytestmark = pytest.mark.django_db(transaction=True)

FORM = {
    "mrn": "N-7",
    "name": "Amara Diallo",
    "birth_date": "1961-04-02",
    "sex": "F",
    "diabetes_type": "2",
    "phone": "+41 79 555 01 02",
    "email": "amara@example.org",
}
UNTOLD = {Action.VIEW, Action.DENIED}
BORN = dt.date(1961, 4, 2)


def url(name: str, *args) -> str:
    return reverse(f"workspace:{name}", args=args)


def text_of(response) -> str:
    return " ".join(response.content.decode().split())


def events_of(patient: Patient) -> list[str]:
    with hospital_scope(patient.hospital_id):
        about = AuditEvent.objects.filter(subject_id=str(patient.pk)).order_by("seq")
        return [event.action for event in about if event.action not in UNTOLD]


@pytest.fixture
def a(two_hospitals):
    return two_hospitals.a


@pytest.fixture
def nurse(a, client_of):
    return client_of(a.staff)


@pytest.fixture
def admin(a, client_of):
    return client_of(a.admin)


def count(model, hospital) -> int:
    with hospital_scope(hospital.pk):
        return model.objects.count()


def test_registering_warns_of_a_lookalike_and_goes_on_when_told_apart(a, nurse):
    known = make_patient(a.hospital, mrn="X-1", name="DIALLO Amara", birth_date=BORN)

    warned = nurse.post(url("patient-create"), FORM)

    assert warned.status_code == 409
    assert "may be registered already" in text_of(warned)
    assert "Same name and date of birth" in text_of(warned)
    assert url("patient-detail", known.pk) in text_of(warned)
    assert count(Patient, a.hospital) == 1
    # Told apart from somebody else than who was found: asked again.
    again = nurse.post(url("patient-create"), {**FORM, "not_same": str(a.hospital.pk)})
    assert again.status_code == 409
    registered = nurse.post(url("patient-create"), {**FORM, "not_same": str(known.pk)})
    assert registered.status_code == 302
    assert count(Patient, a.hospital) == 2
    assert "No possible duplicates" in text_of(nurse.get(url("duplicate-list")))


def test_registering_a_taken_number_leads_to_its_patient_and_nowhere_else(a, nurse):
    known = make_patient(a.hospital, mrn="n-7")
    refused = nurse.post(url("patient-create"), FORM)
    assert refused.status_code == 422
    assert "registered already" in text_of(refused)
    assert url("patient-detail", known.pk) in text_of(refused)
    assert "This is another person" not in text_of(refused)


def test_duplicates_are_listed_compared_merged_and_unmerged(a, nurse):
    stays = make_patient(a.hospital, mrn="N-1", name="Amara Diallo", birth_date=BORN)
    goes = make_patient(a.hospital, mrn="Q-5", name="Diallo Amara", birth_date=BORN)
    case = make_case(goes)
    assert url("patient-merge", stays.pk, goes.pk) in text_of(nurse.get(url("duplicate-list")))
    found = text_of(nurse.get(url("patient-duplicates", stays.pk)))
    assert url("patient-merge", stays.pk, goes.pk) in found
    compared = text_of(nurse.get(url("patient-merge", stays.pk, goes.pk)))
    assert "N-1" in compared
    assert "Q-5" in compared

    unsaid = nurse.post(url("patient-merge", stays.pk, goes.pk), {"keep": str(stays.pk)})
    assert unsaid.status_code == 422
    both = {"keep": str(stays.pk), "reason": "Asked the patient"}
    # Whichever of the two stands first in the address.
    merged = nurse.post(url("patient-merge", goes.pk, stays.pk), both)

    assert merged.url == url("patient-detail", stays.pk)
    page = text_of(nurse.get(merged.url))
    assert case.reference in page
    assert "Asked the patient" in page
    tombstone = text_of(nurse.get(url("patient-detail", goes.pk)))
    assert url("patient-detail", stays.pk) in tombstone
    assert "Q-5" not in text_of(nurse.get(url("patient-list")))
    assert "merged into another record" in text_of(searched(nurse, url("patient-list"), "q-5"))
    for name in ("patient-update", "case-create", "patient-export", "patient-erase"):
        assert nurse.get(url(name, goes.pk)).url == url("patient-detail", goes.pk), name
    assert nurse.get(url("patient-merge", stays.pk, goes.pk)).url == merged.url

    asked = text_of(nurse.get(url("patient-unmerge", goes.pk)))
    assert "1 visit it had" in asked
    assert nurse.post(url("patient-unmerge", goes.pk), {"reason": ""}).status_code == 422
    nurse.post(url("patient-unmerge", goes.pk), {"reason": "Mother and daughter"})

    assert case.reference in text_of(nurse.get(url("patient-detail", goes.pk)))
    assert nurse.get(url("patient-unmerge", goes.pk)).url == url("patient-detail", goes.pk)
    for patient in (stays, goes):
        assert events_of(patient) == [Action.CREATE, Action.MERGE, Action.UNMERGE]
    nurse.post(url("patient-tell-apart", stays.pk, goes.pk))
    assert "No possible duplicates" in text_of(nurse.get(url("duplicate-list")))


def test_records_of_another_hospital_can_not_be_merged_or_told_apart(a, nurse, two_hospitals):
    ours, theirs = make_patient(a.hospital), make_patient(two_hospitals.b.hospital)
    reason = {"keep": str(ours.pk), "reason": "One person"}
    for pair in ((ours.pk, theirs.pk), (theirs.pk, ours.pk), (ours.pk, ours.pk)):
        assert nurse.get(url("patient-merge", *pair)).status_code == 404
        assert nurse.post(url("patient-merge", *pair), reason).status_code == 404
        assert nurse.post(url("patient-tell-apart", *pair)).status_code == 404


async def test_export_gives_every_file_with_its_hash_and_names_nobody(a, async_client_of):
    client, case, other = await prepared(a, async_client_of)
    address = url("patient-export", case.patient_id)

    response = await client.post(address, {"reason": "The patient asked for a copy"})

    body = b"".join([piece async for piece in response.streaming_content])
    assert response["Content-Type"] == "application/zip"
    assert response["Cache-Control"] == "no-store"
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert archive.testzip() is None
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["problems"] == []
    listed = {file["path"]: file["sha256"] for file in manifest["files"]}
    assert set(listed) == set(archive.namelist()) - {"manifest.json"}
    for path, sha256 in listed.items():
        assert hashlib.sha256(archive.read(path)).hexdigest() == sha256, path
    document = json.loads(archive.read("patient.json"))
    assert (document["schema"], document["schema_version"]) == ("drservice-patient", 1)
    assert document["patient"]["name"] == "Amara Diallo"
    [merged] = document["merged_records"]
    assert (merged["name"], merged["merge"]["reason"]) == ("Binta Sow", "One person")
    [exported] = document["cases"]
    assert exported["id"] == str(case.pk)
    assert exported["notes"] == "Came with her daughter"
    assert len(exported["photographs"]) == 2
    for photograph in exported["photographs"]:
        assert listed[photograph["files"]["original"]] == photograph["sha256"]
        assert photograph["files"]["attention_map"] in listed
        assert photograph["grading"]["model_version"] == "test-1"
    assert [step["state"] for step in exported["history"]][-1] == "graded"
    assert "merge" in {event["action"] for event in document["audit"]}
    assert_every_field_is_described(document)
    told = f"{response['Content-Disposition']} {address} {archive.namelist()}".casefold()
    for word in ("amara", "diallo", "n-7", "binta"):
        assert word not in told
    assert str(other.pk).encode() not in body


def assert_every_field_is_described(document: dict) -> None:
    described = (settings.BASE_DIR / "docs" / "patient-export.md").read_text()
    [merged], [case] = document["merged_records"], document["cases"]
    photograph = case["photographs"][0]
    parts = (document, document["patient"], merged, case, photograph, case["outcome"])
    fields = {name for part in (*parts, case["history"][0], document["audit"][0]) for name in part}
    untold = {name for name in fields if f"`{name}`" not in described}
    assert untold <= {"schema", "schema_version"}


async def prepared(a, async_client_of):
    def make():
        patient = make_patient(a.hospital, mrn="N-7", name="Amara Diallo")
        merged = make_patient(a.hospital, mrn="N-8", name="Binta Sow")
        case = graded_case_with_files(patient)
        with hospital_scope(a.hospital.pk):
            patient_merge(survivor=patient, merged=merged, by="A nurse", reason="One person")
            noted = Case.objects.get(pk=case.pk)
            noted.notes = "Came with her daughter"
            noted.save(update_fields=["notes"])
        return async_client_of(a.staff), case, make_case(make_patient(a.hospital))

    return await sync_to_async(make)()


def test_export_is_audited_before_anything_is_sent(a, nurse):
    patient = make_patient(a.hospital)
    assert nurse.get(url("patient-export", patient.pk)).status_code == 200
    assert nurse.post(url("patient-export", patient.pk), {"reason": " "}).status_code == 422
    assert events_of(patient) == [Action.CREATE]
    # Nobody reads what comes back; the trail knows of it all the same.
    response = nurse.post(url("patient-export", patient.pk), {"reason": "A copy"})
    assert response.status_code == 200
    assert events_of(patient) == [Action.CREATE, Action.EXPORT]


def test_one_person_exports_so_many_records_and_no_more(a, nurse, monkeypatch):
    cache.clear()
    monkeypatch.setattr("workspace.views.exports.EXPORTS", replace(EXPORTS, most=1))
    first, second = make_patient(a.hospital), make_patient(a.hospital)
    assert nurse.post(url("patient-export", first.pk), {"reason": "A copy"}).status_code == 200
    refused = nurse.post(url("patient-export", second.pk), {"reason": "A copy"})
    assert refused.status_code == 422
    assert "Wait an hour" in text_of(refused)
    assert events_of(second) == [Action.CREATE]


def test_hold_is_shown_and_lifted(a, nurse):
    patient = make_patient(a.hospital)
    assert nurse.post(url("patient-hold", patient.pk), {"reason": ""}).status_code == 422
    nurse.post(url("patient-hold", patient.pk), {"reason": "Court file 12"})
    page = text_of(nurse.get(url("patient-detail", patient.pk)))
    assert "On legal hold" in page
    assert "Court file 12" in page
    assert "can't be erased now" in text_of(nurse.get(url("patient-erase", patient.pk)))
    assert nurse.post(url("patient-erase", patient.pk), {"reason": "wish"}).status_code == 422
    nurse.post(url("patient-release", patient.pk))
    assert "On legal hold" not in text_of(nurse.get(url("patient-detail", patient.pk)))
    assert events_of(patient) == [Action.CREATE, Action.HOLD, Action.RELEASE]


def test_erasure_is_asked_for_by_staff_and_confirmed_by_an_admin_who_sees_nobody(a, nurse, admin):
    patient = make_patient(a.hospital, mrn="N-7", name="Amara Diallo")
    make_case(patient)
    assert nurse.post(url("patient-erase", patient.pk), {"reason": "no such"}).status_code == 422
    nurse.post(url("patient-erase", patient.pk), {"reason": "wish"})
    with hospital_scope(a.hospital.pk):
        erasure = Erasure.objects.get()
    assert erasure.reference in text_of(nurse.get(url("patient-erase", patient.pk)))
    assert "To be erased" in text_of(nurse.get(url("patient-detail", patient.pk)))

    pages = [admin.get(url("record-keeping")), admin.get(url("erasure-detail", erasure.pk))]
    for page in pages:
        assert page.status_code == 200
        for word in ("Amara", "Diallo", "N-7", erasure.reference):
            assert word not in text_of(page)
    address = url("erasure-detail", erasure.pk)
    assert admin.post(address, {"reference": "WRONG1"}).status_code == 422
    assert count(Patient, a.hospital) == 1
    assert admin.post(address, {"reference": erasure.reference}).status_code == 302

    assert (count(Patient, a.hospital), count(Case, a.hospital)) == (0, 0)
    assert nurse.get(url("patient-detail", patient.pk)).status_code == 404
    assert "Erased" in text_of(admin.get(address))
    assert events_of(patient)[-2:] == [Action.ERASE_ASK, Action.ERASE]


def test_erasure_can_be_withdrawn_and_declined(a, nurse, admin):
    patient = make_patient(a.hospital)
    nurse.post(url("patient-erase", patient.pk), {"reason": "mistake"})
    nurse.post(url("patient-erase-withdraw", patient.pk))
    nurse.post(url("patient-erase", patient.pk), {"reason": "mistake"})
    with hospital_scope(a.hospital.pk):
        withdrawn, open_one = Erasure.objects.order_by("asked_at")
    admin.post(url("erasure-decline", open_one.pk))
    again = admin.post(url("erasure-decline", withdrawn.pk), follow=True)
    assert "decided already" in text_of(again)
    page = text_of(admin.get(url("record-keeping")))
    assert "Withdrawn" in page
    assert "Declined" in page
    assert count(Patient, a.hospital) == 1


def test_admin_sets_how_long_records_are_kept_and_holds_everything(a, nurse, admin):
    patient = make_patient(a.hospital)
    address = url("record-keeping")
    assert admin.post(address, {"keep_years": "0"}).status_code == 422
    assert admin.post(address, {"keep_years": "", "erase_when_due": "on"}).status_code == 422
    assert admin.post(address, {"keep_years": "10"}).status_code == 302
    with hospital_scope(a.hospital.pk):
        assert RetentionPolicy.objects.get().keep_years == 10
    assert "No record is due" in text_of(admin.get(address))
    with hospital_scope(a.hospital.pk):
        Patient.objects.update(created_at=dt.datetime(2001, 1, 1, tzinfo=dt.UTC))
    due = text_of(admin.get(address))
    assert "1 record</strong> is due" in due
    assert str(patient.pk) in due
    assert patient.name not in due
    admin.post(url("hospital-hold"), {"reason": "Investigation 3"})
    assert "All records are on legal hold" in text_of(admin.get(address))
    assert nurse.post(url("patient-erase", patient.pk), {"reason": "wish"}).status_code == 422
    admin.post(url("hospital-release"))
    assert "All records are on legal hold" not in text_of(admin.get(address))


def test_visit_of_the_wrong_patient_is_marked_as_entered_in_error(a, nurse):
    case = graded_case_with_files(make_patient(a.hospital))
    page = url("case-detail", case.pk)
    assert "Routine recall" in text_of(nurse.get(page))
    nurse.post(url("case-void", case.pk), {"reason": ""})
    assert "Routine recall" in text_of(nurse.get(page))

    nurse.post(url("case-void", case.pk), {"reason": "Photographs of another patient"})

    shown = text_of(nurse.get(page))
    assert "Routine recall" not in shown
    assert "Photographs of another patient" in shown
    assert nurse.get(url("case-status", case.pk)).json()["outcome"] is None
    for state in ("", "urgent", "retake", "graded"):
        assert case.reference not in text_of(nurse.get(url("case-list"), {"state": state}))
    assert "Entered in error" in text_of(nurse.get(url("patient-detail", case.patient_id)))
    with hospital_scope(a.hospital.pk):
        voided = Case.objects.get(pk=case.pk)
        assert voided.outcome is not None
        assert AuditEvent.objects.filter(action=Action.VOID, subject_id=str(case.pk)).count() == 1
        right_case = make_case(make_patient(a.hospital), lateralities=())
        sha256 = case.images[0].sha256
        assert Case.objects.with_image(sha256s=[sha256], other_than=right_case.pk) is None
    again = nurse.post(url("case-void", case.pk), {"reason": "Once more"}, follow=True)
    assert "Somebody else changed this case" in text_of(again)
