"""The auditors' pages: what they find, how far they reach, and what leaves with the table."""

import csv
import datetime as dt
from io import StringIO

import pytest
from asgiref.sync import sync_to_async
from bson import ObjectId
from django.db import connection
from django.urls import reverse

from accounts.audit import store
from accounts.audit.actions import Action
from accounts.audit.actors import acting_as, person
from accounts.audit.chain import Place
from accounts.audit.models import AuditEvent
from accounts.audit.services import audit_record
from accounts.audit.subject_keys import subject_key_destroy
from accounts.audit.verification import chain_check, head_place
from accounts.audit_pages import table
from accounts.audit_pages.table import harmless

pytestmark = pytest.mark.django_db

TRAIL, EXPORT, HEAD = (reverse(f"accounts:audit-{name}") for name in ("list", "export", "head"))


@pytest.fixture
def auditor(two_hospitals, client_of):
    return client_of(two_hospitals.a.auditor)


@pytest.fixture
def hospital(two_hospitals):
    return two_hospitals.a.hospital


def record(hospital, **fields) -> AuditEvent:
    fields = {"action": Action.CHANGE, "subject_kind": "case", "subject_id": ObjectId(), **fields}
    return audit_record(hospital_id=hospital.pk, **fields)


def numbers(answer) -> list[int]:
    assert answer.status_code == 200
    return [told.event.seq for told in answer.context["events"]]


def test_auditor_reads_who_did_what_with_before_and_after(auditor, hospital, two_hospitals):
    with acting_as(person(two_hospitals.a.staff, address="192.0.2.9")):
        record(
            hospital,
            subject_kind="patient",
            before={"name": "Ada Old", "consent_training": False},
            after={"name": "Ada New", "consent_training": True},
            reason="She married",
        )
    page = auditor.get(TRAIL)
    for words in ("Staff of Hospital A", "192.0.2.9", "Ada Old", "Ada New", "yes", "She married"):
        assert words in page.text
    assert "Changed: Patient" in page.text
    assert str(head_place(hospital.pk)) in page.text


def test_page_shows_nothing_of_another_hospital(auditor, two_hospitals):
    theirs = record(two_hospitals.b.hospital, after={"notes": "Foreign words"})
    for address in (TRAIL, f"{TRAIL}?record={theirs.subject_id}"):
        assert "Foreign words" not in auditor.get(address).text
    assert numbers(auditor.get(f"{TRAIL}?record={theirs.subject_id}")) == []


def test_page_says_that_an_erased_patient_s_details_are_gone(auditor, hospital):
    patient = ObjectId()
    record(hospital, patient_id=patient, after={"name": "Ada"})
    subject_key_destroy(patient, hospital_id=hospital.pk)
    page = auditor.get(TRAIL).text
    assert "Ada" not in page
    assert "Erased" in page


def test_filters_find_what_they_say(auditor, hospital, two_hospitals):
    patient, case = ObjectId(), ObjectId()
    with acting_as(person(two_hospitals.a.staff)):
        by_staff = record(hospital, action=Action.SUBMIT, subject_id=case, patient_id=patient)
    of_case = record(hospital, subject_kind="photograph", subject_id=f"{case}/abc")
    of_patient = record(hospital, subject_kind="patient", subject_id=patient)
    old = record(hospital)
    connection.get_collection(AuditEvent._meta.db_table).update_one(
        {"_id": old.pk},
        {"$set": {"at": dt.datetime(2020, 5, 31, 23, 0)}},  # noqa: DTZ001
    )
    staff = two_hospitals.a.staff.pk
    found = {
        f"person={staff}&action=submit": [by_staff],
        "action=submit": [by_staff],
        f"record={case}": [of_case, by_staff],
        f"record={patient}": [of_patient, by_staff],
        f"record={case}&action=submit": [by_staff],
        "since=2020-05-31&until=2020-05-31": [old],
        "until=2020-05-30": [],
        "person=-&action=submit": [],
    }
    for query, events in found.items():
        assert numbers(auditor.get(f"{TRAIL}?{query}")) == [one.seq for one in events], query
    filled = {"record": f"http://testserver/cases/{case}/", "action": "submit"}
    assert numbers(auditor.post(TRAIL, filled, follow=True)) == [by_staff.seq]
    assert by_staff.seq in numbers(auditor.get(f"{TRAIL}?since={dt.date.today()}"))  # noqa: DTZ011


@pytest.mark.parametrize(
    "query",
    [
        "record=nobody",
        "person=x",
        "action[$ne]=x&action=%24ne",
        "since=tomorrow",
        "since=0001-01-01",
        "until=9999-12-31",
    ],
)
def test_filter_that_makes_no_sense_is_refused_and_shows_nothing(auditor, hospital, query):
    record(hospital)
    for address in (TRAIL, EXPORT):
        answer = auditor.get(f"{address}?{query}")
        assert answer.status_code == 400
        assert "can't be used" in answer.text


def test_what_is_typed_into_the_filter_goes_on_as_ids_or_not_at_all(auditor, hospital):
    case = ObjectId()
    filled = {"record": f" http://testserver/Cases/{str(case).upper()}/ ", "until": "2026-05-31"}
    assert auditor.post(TRAIL, filled).url == f"{TRAIL}?record={case}&until=2026-05-31"
    assert auditor.post(TRAIL, {}).url == TRAIL
    record(hospital)
    refused = auditor.post(TRAIL, {"record": "Ada Quillfeather"})
    assert refused.status_code == 400
    assert "Patient or case: A record is named" in refused.text
    assert refused.context["events"] == []


def test_pages_go_back_event_by_event_without_a_gap(auditor, hospital):
    for _ in range(120):
        record(hospital)
    auditor.get(TRAIL)
    address, seen = TRAIL, []
    while address is not None:
        page = auditor.get(address)
        seen += numbers(page)
        address = f"{TRAIL}?{page.context['older']}" if page.context["older"] else None
    assert seen == list(range(store.event_last(hospital.pk)["seq"], 0, -1))


def test_reading_the_trail_is_kept_once_while_somebody_reads(auditor, hospital):
    for _ in range(3):
        page = auditor.get(TRAIL)
    views = [one for one in page.context["events"] if one.event.subject_kind == "audit"]
    assert [one.action_label for one in views] == ["Viewed"]


def test_trail_is_not_shown_when_that_can_not_be_kept(auditor, hospital, audit_refused):
    record(hospital, after={"name": "Ada"})
    for address in (TRAIL, EXPORT):
        with audit_refused():
            answer = auditor.get(address)
        assert answer.status_code == 503
        assert "Ada" not in getattr(answer, "text", "")


@pytest.mark.django_db(transaction=True)
async def test_export_holds_every_event_found_and_itself_last(
    two_hospitals, async_client_of, monkeypatch
):
    monkeypatch.setattr(table, "BATCH", 10)
    hospital = two_hospitals.a.hospital
    await sync_to_async(_many)(hospital)
    client = await sync_to_async(async_client_of)(two_hospitals.a.auditor)
    answer = await client.get(f"{EXPORT}?action=change")
    assert answer["Content-Disposition"].startswith('attachment; filename="audit-')
    rows = await _rows(answer)
    assert [row["record id"] for row in rows] == [str(number) for number in range(35)]
    assert {row["action"] for row in rows} == {"change"}
    whole = await _rows(await client.get(EXPORT))
    assert whole[-1]["action"] == "export"
    assert [int(row["number"]) for row in whole] == list(range(1, len(whole) + 1))
    assert [row["previous hash"] for row in whole[1:]] == [row["hash"] for row in whole[:-1]]
    assert "'=HYPERLINK(1)" in [row["reason"] for row in whole]
    found = await sync_to_async(chain_check)(hospital.pk)
    assert (found.fault, found.hash) == (None, whole[-1]["hash"])


def _many(hospital) -> None:
    for number in range(35):
        record(hospital, subject_id=number)
    record(hospital, action=Action.CANCEL, reason="=HYPERLINK(1)")


async def _rows(answer) -> list[dict]:
    text = b"".join([part async for part in answer.streaming_content]).decode()
    assert text.startswith("\ufeffnumber,")
    return list(csv.DictReader(StringIO(text.removeprefix("\ufeff"))))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "＝1"])
def test_cell_that_a_spreadsheet_would_calculate_is_made_text(text):
    assert harmless(text) == f"'{text}"
    assert harmless(f"x{text}") == f"x{text}"


def test_head_that_is_saved_is_the_one_that_verify_takes(auditor, hospital):
    record(hospital)
    saved = auditor.get(HEAD)
    assert saved["Content-Disposition"].endswith('.txt"')
    name, _, place = saved.text.strip().splitlines()
    assert name == hospital.name
    assert chain_check(hospital.pk, kept=[Place.read(place).hash]).fault is None
