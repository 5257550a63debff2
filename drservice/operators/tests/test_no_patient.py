"""Operators see no patient: of hospitals' records MongoDB sends their pages sums, and only sums."""

import datetime as dt
from collections.abc import Iterator

import pytest
from bson import ObjectId
from django.apps import apps
from django.db import connection
from django.urls import reverse
from pymongo import monitoring

from accounts.limits.models import HospitalQuota
from accounts.scoping import TenantModel
from drservice.tests.doors import ROWS
from workspace.schemas import CaseState
from workspace.tests.factories import make_graded_case, make_patient, make_queued_case

SUMS = {"_id", "count", "newest", "bytes", "since"}
TRAIL = {"_id", "hospital_id", "seq", "at"}
GROUPS = {"hospital", "state", "age"}


class Replies(monitoring.CommandListener):
    """Keeps what MongoDB was asked of hospitals' records, and what it answered."""

    def __init__(self, collections: set[str]) -> None:
        self.collections = collections
        self.asked: dict[int, dict] = {}
        self.replies: list[tuple[dict, dict]] = []

    def started(self, event) -> None:
        # A few commands name no collection but carry something else there.
        if str(event.command.get(event.command_name)) in self.collections:
            self.asked[event.request_id] = dict(event.command)

    def succeeded(self, event) -> None:
        if event.request_id in self.asked:
            self.replies.append((self.asked[event.request_id], event.reply))

    def failed(self, event) -> None:
        pass


def tenant_collections() -> set[str]:
    owned = {model._meta.db_table for model in apps.get_models() if issubclass(model, TenantModel)}
    # A quota is numbers alone, which operators set.
    return owned - {HospitalQuota._meta.db_table} | {"images.files", "images.chunks"}


@pytest.fixture
def replies(transactional_db) -> Iterator[Replies]:
    """Listen to every command of this test's connection."""
    listener = Replies(tenant_collections())
    options = connection.settings_dict["OPTIONS"]
    connection.close_pool()
    options["event_listeners"] = [listener]
    yield listener
    del options["event_listeners"]
    connection.close_pool()


def operator_pages(hospital) -> list[str]:
    rows = [row for row in ROWS.values() if row.who == "operator" and "GET" in row.methods]
    pks = {"some-hospital": hospital.pk}
    return [
        reverse(row.name, kwargs={"pk": pks[row.what]} if row.what in pks else {})
        for row in rows
        if row.what in ("-", *pks)
    ]


def test_listener_hears_when_a_record_is_read(replies, two_hospitals, client_of):
    case = make_graded_case(make_patient(two_hospitals.a.hospital))
    replies.replies.clear()
    assert client_of(two_hospitals.a.staff).get("/cases/").status_code == 200
    assert any(str(case.pk) in str(reply) for _, reply in replies.replies)


def test_pages_of_operators_get_sums_and_nothing_else(replies, two_hospitals, client_of):
    hospital = two_hospitals.a.hospital
    patient = make_patient(hospital, name="Amara Diallo", mrn="N-4711")
    make_graded_case(patient)
    make_queued_case(patient)
    operator = client_of(two_hospitals.operator)
    replies.replies.clear()

    for address in operator_pages(hospital):
        page = operator.get(address)
        assert page.status_code == 200, address
        assert "Amara" not in page.text
        assert "N-4711" not in page.text

    trail = [reply for asked, reply in replies.replies if is_trail(asked)]
    for event in (event for reply in trail for event in reply["cursor"]["firstBatch"]):
        assert set(event) <= TRAIL
    replies.replies = [(asked, reply) for asked, reply in replies.replies if not is_trail(asked)]
    assert {next(iter(asked)) for asked, _ in replies.replies} == {"aggregate"}
    rows = [row for _, reply in replies.replies for row in reply["cursor"]["firstBatch"]]
    assert rows
    for asked, reply in replies.replies:
        assert "hospital_id" in str(asked["pipeline"][0]["$match"])
        assert reply["cursor"]["id"] == 0
    for row in rows:
        assert set(row) <= SUMS
        assert set(row["_id"]) <= GROUPS
        assert all(is_harmless(value) for value in (*row.values(), *row["_id"].values()))


def is_trail(asked: dict) -> bool:
    return str(next(iter(asked.values()))).startswith("audit_audit")


def is_harmless(value) -> bool:
    if isinstance(value, str):
        return value in CaseState.values
    return isinstance(value, (int, ObjectId, dt.datetime, dict))
