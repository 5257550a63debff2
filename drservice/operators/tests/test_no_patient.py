"""Operators see no patient: of hospitals' records MongoDB sends their pages sums, and only sums."""

import datetime as dt
from collections.abc import Iterator

import pytest
from bson import ObjectId
from django.apps import apps
from django.urls import reverse

from accounts.limits.models import HospitalQuota
from accounts.scoping import TenantModel
from drservice.tests.doors import ROWS
from workspace.schemas import CaseState
from workspace.tests.factories import make_graded_case, make_patient, make_queued_case

SUMS = {"_id", "count", "newest", "bytes", "since"}
TRAIL = {"_id", "hospital_id", "seq", "at"}
GROUPS = {"hospital", "state", "age"}


def tenant_collections() -> set[str]:
    owned = {model._meta.db_table for model in apps.get_models() if issubclass(model, TenantModel)}
    # A quota is numbers alone, which operators set.
    return owned - {HospitalQuota._meta.db_table} | {"images.files", "images.chunks"}


@pytest.fixture
def answers(tenant_commands) -> Iterator[list[tuple[dict, dict]]]:
    """What MongoDB is asked during this test, and what it answers."""
    with tenant_commands.recording_answers() as answers:
        yield answers


def about_records(answers: list[tuple[dict, dict]]) -> list[tuple[dict, dict]]:
    """Keep the answers to commands on what belongs to hospitals."""
    collections = tenant_collections()
    # A command's name is its first key, and its collection that key's value.
    return [(asked, answer) for asked, answer in answers if collection_of(asked) in collections]


def collection_of(asked: dict) -> str:
    return str(next(iter(asked.values())))


def operator_pages(hospital) -> list[str]:
    rows = [row for row in ROWS.values() if row.who == "operator" and "GET" in row.methods]
    pks = {"some-hospital": hospital.pk}
    return [
        reverse(row.name, kwargs={"pk": pks[row.what]} if row.what in pks else {})
        for row in rows
        if row.what in ("-", *pks)
    ]


def test_listener_hears_when_a_record_is_read(answers, two_hospitals, client_of):
    case = make_graded_case(make_patient(two_hospitals.a.hospital))
    answers.clear()
    assert client_of(two_hospitals.a.staff).get("/cases/").status_code == 200
    assert any(str(case.pk) in str(answer) for _, answer in about_records(answers))


def test_pages_of_operators_get_sums_and_nothing_else(answers, two_hospitals, client_of):
    hospital = two_hospitals.a.hospital
    patient = make_patient(hospital, name="Amara Diallo", mrn="N-4711")
    make_graded_case(patient)
    make_queued_case(patient)
    operator = client_of(two_hospitals.operator)
    answers.clear()

    for address in operator_pages(hospital):
        page = operator.get(address)
        assert page.status_code == 200, address
        assert "Amara" not in page.text
        assert "N-4711" not in page.text

    heard = about_records(answers)
    trail = [answer for asked, answer in heard if is_trail(asked)]
    for event in (event for answer in trail for event in answer["cursor"]["firstBatch"]):
        assert set(event) <= TRAIL
    sums = [(asked, answer) for asked, answer in heard if not is_trail(asked)]
    assert {next(iter(asked)) for asked, _ in sums} == {"aggregate"}
    rows = [row for _, answer in sums for row in answer["cursor"]["firstBatch"]]
    assert rows
    for asked, answer in sums:
        assert "hospital_id" in str(asked["pipeline"][0]["$match"])
        assert answer["cursor"]["id"] == 0
    for row in rows:
        assert set(row) <= SUMS
        assert set(row["_id"]) <= GROUPS
        assert all(is_harmless(value) for value in (*row.values(), *row["_id"].values()))


def is_trail(asked: dict) -> bool:
    return collection_of(asked).startswith("audit_audit")


def is_harmless(value) -> bool:
    if isinstance(value, str):
        return value in CaseState.values
    return isinstance(value, (int, ObjectId, dt.datetime, dict))
