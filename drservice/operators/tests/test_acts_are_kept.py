"""What operators change is kept in the audit trail with the reason, or it is not changed."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from accounts.audit import services as audit
from accounts.audit.errors import AuditUnavailable
from accounts.audit.models import AuditEvent
from accounts.audit.sealing import unseal_for
from accounts.models import Hospital, User
from accounts.operator_services import operator_deactivate
from accounts.scoping import every_hospital
from accounts.selectors import active_operators
from drservice.operators.tests.factories import make_model_record
from inference.selectors import champion_alias


@pytest.fixture
def operator(two_hospitals, client_of):
    return client_of(two_hospitals.operator)


def events_about(subject) -> list[tuple]:
    """Return chain, action, actor and what was told of each event about one thing, oldest first."""
    with every_hospital("looking at the trail in a test"):
        events = list(AuditEvent.objects.filter(subject_id=str(subject.pk)).order_by("at", "id"))
    return [(one.hospital_id, one.action, one.actor_id, told(one)) for one in events]


def told(event: AuditEvent) -> dict:
    return json.loads(unseal_for(event.details))


def test_closing_is_kept_on_both_chains_with_who_and_why(operator, two_hospitals):
    hospital, who = two_hospitals.a.hospital, str(two_hospitals.operator.pk)
    operator.post(f"/operators/hospitals/{hospital.pk}/close/", {"reason": "Contract ended"})
    said = {
        "before": {"is_active": True},
        "after": {"is_active": False},
        "reason": "Contract ended",
    }
    expected = [("deactivate", who, said)] * 2
    events = events_about(hospital)
    assert {chain for chain, *_ in events} == {None, hospital.pk}
    assert [tuple(rest) for _, *rest in events] == expected


@pytest.mark.parametrize(
    ("page", "fields", "action", "after"),
    [
        ("name", {"name": "Hospital C"}, "change", {"name": "Hospital C"}),
        ("limits", {"photographs_a_day": "12"}, "change", {"photographs_a_day": 12}),
        ("rules", {"mfa_required": "on"}, "change", {"mfa_required": True}),
    ],
)
def test_changes_are_kept(operator, two_hospitals, page, fields, action, after):
    hospital = two_hospitals.a.hospital
    operator.post(f"/operators/hospitals/{hospital.pk}/{page}/", {**fields, "reason": "Asked"})
    [first, second] = events_about(hospital)
    assert first[1] == second[1] == action
    assert first[3]["after"].items() >= after.items()
    assert {first[0], second[0]} == {None, hospital.pk}


def test_what_changes_nothing_leaves_no_event(operator, two_hospitals):
    hospital = two_hospitals.a.hospital
    operator.post(f"/operators/hospitals/{hospital.pk}/open/", {"reason": "Twice"})
    assert events_about(hospital) == []


def test_new_hospitals_and_operators_are_kept(operator):
    fields = {"name": "Lake Clinic", "admin_name": "Ada", "admin_email": "ada@lake.example"}
    operator.post("/operators/hospitals/add/", fields)
    hospital = Hospital.objects.get(name="Lake Clinic")
    assert [event[1] for event in events_about(hospital)] == ["create", "create"]

    operator.post("/operators/people/add/", {"name": "Bo", "email": "bo@ops.example"})
    added = User.objects.get(email="bo@ops.example")
    assert [event[:2] for event in events_about(added)] == [(None, "create")]


def test_champions_moves_are_kept(operator):
    old, new = make_model_record(), make_model_record()
    for model, seen in ((old, 0), (new, 1)):
        said = {"reason": f"Better than {seen}", "seen_revision": seen}
        operator.post(f"/operators/models/{model.pk}/promote/", said)
    operator.post("/operators/models/roll-back/", {"reason": "Worse", "seen_revision": 2})
    [promoted] = events_about(new)
    assert promoted[:2] == (None, "promote")
    assert promoted[3]["reason"] == "Better than 1"
    assert [event[1] for event in events_about(old)] == ["promote", "roll_back"]


def test_nothing_is_done_while_the_trail_cannot_be_written(operator, two_hospitals, monkeypatch):
    hospital, model = two_hospitals.a.hospital, make_model_record()

    def broken(event: dict):
        raise AuditUnavailable("no disk")

    monkeypatch.setattr(audit, "_append", broken)
    said = {"reason": "x", "seen_revision": 0}
    for address in (
        f"/operators/hospitals/{hospital.pk}/close/",
        f"/operators/models/{model.pk}/promote/",
        f"/operators/people/{two_hospitals.operator.pk}/activate/",
    ):
        assert operator.post(address, said).status_code == 503, address
    fields = {"name": "Lake Clinic", "admin_name": "Ada", "admin_email": "ada@lake.example"}
    assert operator.post("/operators/hospitals/add/", fields).status_code == 503

    hospital.refresh_from_db()
    assert hospital.is_active
    assert champion_alias() is None
    assert not Hospital.objects.filter(name="Lake Clinic").exists()
    assert not User.objects.filter(email="ada@lake.example").exists()


@pytest.mark.django_db(transaction=True)
def test_two_operators_cannot_shut_each_other_out(make_operator):
    pair = [make_operator(), make_operator()]

    def deactivate(user: User) -> bool:
        try:
            return not operator_deactivate(user=user, reason="A quarrel").is_active
        except ValidationError:
            return False
        finally:
            connection.close()

    for _ in range(5):
        User.objects.filter(is_operator=True).update(is_active=True)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(deactivate, pair))
        assert sorted(done) == [False, True]
        assert len(active_operators()) == 1
