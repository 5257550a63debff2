"""Who may enter where: every URL, every method, every role of two hospitals, and strangers.

The table is in drservice/tests/door_table.py and names each URL once. A URL without a row, a row
without a URL, and a view whose mark says something else than its row all fail here; then every
person tries every door.
"""

from contextlib import nullcontext
from dataclasses import dataclass

import pytest
from bson import ObjectId
from django.conf import settings
from django.test import Client
from django.urls import reverse

from accounts.audit.models import AuditEvent
from accounts.keys.models import HospitalKey, PlatformKey
from drservice.testing.pages import body_without_token
from drservice.testing.tenant_commands import FILES
from drservice.tests.door_table import OBJECTS, POSTED, missing
from drservice.tests.doors import (
    BACKEND,
    ROWS,
    Knocker,
    Person,
    Row,
    address_of,
    every_url,
    expected,
    fields_of,
    observed,
    refusal_at_the_door,
)
from workspace.models import Case, Patient

# Some of the collections whose commands must have been seen, lest nothing was held to anything.
HELD = {model._meta.db_table for model in (Case, Patient, AuditEvent)}
# Read again every few seconds, whatever is asked: the asker's own hospital's and the platform's.
KEYS = {model._meta.db_table for model in (HospitalKey, PlatformKey)}
# Nobody in B, whatever their roles, and nobody outside may tell foreign from missing.
OUTSIDERS = {"stranger", "operator", "deactivated in A", "auditor of B", "everything in B"}


def test_table_names_every_url_once():
    names = [name for name, _ in every_url()]
    without_a_row, without_a_url = set(names) - set(ROWS), set(ROWS) - set(names)
    assert not without_a_row, f"Add a row to {OBJECTS.__module__} for each of {without_a_row}"
    assert not without_a_url
    assert len(names) == len(set(names))


def test_table_uses_every_object_and_every_posted_field():
    assert {row.what for row in ROWS.values()} == set(OBJECTS)
    assert set(POSTED) <= set(ROWS)


def test_every_view_carries_the_mark_of_its_row():
    wrong = [
        f"{name} is marked {mark}, its row says {ROWS[name].mark}"
        for name, pattern in every_url()
        if name in ROWS and (mark := getattr(pattern.callback, "access", None)) != ROWS[name].mark
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(900)
def test_every_door_opens_for_whom_it_should(
    people, objects_of_a, hospital_a, two_hospitals, tenant_commands
):
    """And nothing is sent to MongoDB that doesn't carry the hospital of whoever knocks."""
    hospitals = {"A": two_hospitals.a.hospital.pk, "B": two_hospitals.b.hospital.pk}
    knocker, wrong = Knocker(), []
    tenant_commands.held.clear()
    for row in ROWS.values():
        address, fields = address_of(row, objects_of_a[row.what]), fields_of(row, hospital_a)
        for person in people:
            for method in methods_to_try(row, person):
                should = expected(row, method, person)
                with held_to(tenant_commands, row, hospitals.get(person.works_in)):
                    is_ = observed(knocker.knock(person, method, address, fields))
                if is_ != should:
                    wrong.append(f"{person.title}: {method} {row.name} is {is_}, not {should}")
    assert not wrong, "\n".join(wrong)
    assert {FILES, *HELD} <= set(tenant_commands.held)


def held_to(tenant_commands, row: Row, hospital_id: ObjectId | None):
    # Operators' pages count over hospitals, for a listed reason; any other door knows one alone.
    return nullcontext() if row.who == "operator" else tenant_commands.only(hospital_id)


def methods_to_try(row: Row, person: Person) -> list[str]:
    """Both common methods for everybody; the rare ones for somebody whom the door lets in."""
    wanted = person.title in ("everything in A", "operator") or row.who == "public"
    let_in = wanted and not refusal_at_the_door(row, person)
    return ["GET", "POST", *(["PUT", "PATCH", "DELETE", "OPTIONS"] if let_in else [])]


def test_foreign_and_missing_objects_give_the_same_answer(
    people, objects_of_a, hospital_a, tenant_commands
):
    """Status, headers, body without its token, and what was asked of MongoDB on the way."""
    knocker, wrong = Knocker(), []
    outsiders = [person for person in people if person.title in OUTSIDERS]
    assert len(outsiders) == len(OUTSIDERS)
    for row in (row for row in ROWS.values() if row.has_foreign_object):
        arguments, fields = objects_of_a[row.what], fields_of(row, hospital_a)
        foreign, absent = address_of(row, arguments), address_of(row, missing(arguments))
        for person in (one for one in outsiders if row.is_foreign_to(one)):
            for method in sorted(row.methods):
                # The very first knock may note down the session.
                knocker.knock(person, method, absent, fields)
                answers = [
                    answer(knocker, tenant_commands, person, method, address, fields)
                    for address in (foreign, absent)
                ]
                if differences(*answers) or answers[0].status not in (403, 404):
                    told = differences(*answers)
                    wrong.append(f"{person.title}: {method} {row.name} tells by its {told}")
    assert not wrong, "\n".join(wrong)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: list
    # Names and collections of the commands that were sent to MongoDB.
    asked: list


def answer(knocker, tenant_commands, person, method, address, fields) -> Answer:
    with tenant_commands.recording() as sent:
        response = knocker.knock(person, method, address, fields)
    asked = [(name, command[name]) for name, command in sent if command[name] not in KEYS]
    body = body_without_token(response)
    return Answer(response.status_code, body, sorted(response.items()), asked)


def differences(one: Answer, other: Answer) -> list[str]:
    mine, theirs = vars(one), vars(other)
    return [name for name in mine if mine[name] != theirs[name]]


def test_every_form_that_is_open_to_anybody_counts_attempts():
    open_forms = {
        row.name for row in ROWS.values() if row.who == "public" and "POST" in row.methods
    }
    assert open_forms == settings.ATTEMPT_DOORS


def test_lists_of_b_show_nothing_of_a(people, objects_of_a, two_hospitals):
    [in_b] = [person for person in people if person.title == "everything in B"]
    client = Client()
    client.force_login(in_b.user, backend=BACKEND)
    for name in ("workspace:case-list", "workspace:patient-list", "accounts:member-list"):
        page = client.get(reverse(name))
        assert page.status_code == 200
        assert two_hospitals.b.hospital.name in page.text
        assert two_hospitals.a.hospital.name not in page.text
        assert "MRN-" not in page.text


def test_every_form_needs_its_security_token(people, objects_of_a):
    knocker, wrong = Knocker(enforce_csrf_checks=True), []
    [in_a] = [person for person in people if person.title == "everything in A"]
    for row in ROWS.values():
        if "POST" in row.methods:
            address = address_of(row, objects_of_a[row.what])
            if knocker.knock(in_a, "POST", address).status_code != 403:
                wrong.append(row.name)
    assert not wrong, "\n".join(wrong)
