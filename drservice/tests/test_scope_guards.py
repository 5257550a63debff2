"""Take away each guard between hospitals in turn: every time, something must be noticed.

The guards are found in the code (drservice/tests/scope_guards.py), so that a new one counts from
its first day. What notices is the proof below: nobody gets at anything of the other hospital, also
where only one of two guards is left, the door or the manager; and everybody's own work goes as it
should, with the hospital in every command.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

import pytest
from bson import ObjectId
from django.db.models import Model
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.services import audit_record
from accounts.limits.services import upload_give_back, upload_reserve
from accounts.scoping import Scope, ScopedManager, ScopeError, hospital_scope
from accounts.tests.factories import make_invitation
from drservice.testing.fixtures import TwoHospitals
from drservice.testing.tenant_commands import TenantCommands
from drservice.tests.door_table import HospitalA, missing
from drservice.tests.doors import ROWS, Knocker, Person, Row, address_of, fields_of
from drservice.tests.scope_guards import Guard, guards, taken_away
from workspace.case_events import Listener, _look_at_case, _look_at_worklist, _look_if_allowed
from workspace.models import Case, Patient
from workspace.services import case_claim, case_complete, case_release, case_renew, cases_reconcile
from workspace.tests.factories import make_patient, make_queued_case, make_result

TWICE = "it stands beside another guard on the same question, and either one is enough"
BY_LISTENER = (
    "its own tests reach it, under the listener that is on in every test: "
    "drservice.testing.tenant_commands"
)
COMMAND = "a command that somebody runs on the server for one hospital, named in its arguments"
ALL_ALIKE = "it looks after the keys of all hospitals, one after the other, and shows none"
OWN_TESTS = "the lists and letters of people; accounts/tests look at two hospitals at once"
# Guards that the proof below doesn't have to notice, each with why.
ELSEWHERE = {
    "accounts.audit.chain_states.chain_states": "numbers and times for operators, by design of all",
    "accounts.audit.services._seen_lately": TWICE,
    "accounts.audit.store._anchors": BY_LISTENER,
    "accounts.audit.store.event_last": BY_LISTENER,
    "accounts.audit.store.events_in_order": BY_LISTENER,
    "accounts.audit.store.events_newest": TWICE,
    "accounts.audit.store.events_oldest": TWICE,
    "accounts.audit.subject_keys.subject_key_destroy": BY_LISTENER,
    "accounts.audit_pages.table._batch": TWICE,
    "accounts.hospital_services._announced": OWN_TESTS,
    "accounts.keys.key_ring._stored": "a key of another hospital opens nothing: names are bound in",
    "accounts.keys.key_ring.hospital_key_document": "what it makes is a new document, no question",
    "accounts.keys.resealing._model_reseal": ALL_ALIKE,
    "accounts.keys.resealing._update": ALL_ALIKE,
    "accounts.keys.sealing.unseal_bytes": "the sealed bytes name their key; a wrong one opens none",
    "accounts.keys.selectors.key_states": ALL_ALIKE,
    "accounts.keys.services.key_destroy": ALL_ALIKE,
    "accounts.keys.services.key_resealed": ALL_ALIKE,
    "accounts.keys.services.key_version_add": ALL_ALIKE,
    "accounts.limits.services._place": TWICE,
    "accounts.limits.services.quota_set": BY_LISTENER,
    "accounts.people.mail._send_if_free": "it goes through all hospitals, one after the other",
    "accounts.people.selectors._unseal": "whoever holds the secret of one invitation sees that one",
    "accounts.people.selectors.invitation_pending": OWN_TESTS,
    "accounts.people.selectors.invitations_waiting": OWN_TESTS,
    "accounts.people.selectors.invited_emails": OWN_TESTS,
    "accounts.people.selectors.inviter_of": OWN_TESTS,
    "accounts.people.selectors.mail_counts": OWN_TESTS,
    "accounts.people.selectors.member_by_email": OWN_TESTS,
    "accounts.people.sweeping._delete": OWN_TESTS,
    "accounts.people.sweeping._sweep": "it goes through all hospitals, one after the other",
    "accounts.selectors.active_admins": OWN_TESTS,
    "workspace.case_verbs.CaseManager.erase": BY_LISTENER,
    "workspace.case_verbs.CaseManager.move": BY_LISTENER,
    "workspace.case_verbs.CaseManager.pks_of": BY_LISTENER,
    "workspace.case_verbs.CaseManager.refresh_patient_copy": BY_LISTENER,
    "workspace.demo._patients": COMMAND,
    "workspace.image_services._counted": "an argument of a service, no question",
    "workspace.management.commands.patient_export.Command.handle": COMMAND,
    "workspace.newest.NewestManager.count_up_to": BY_LISTENER,
    "workspace.patient_verbs.PatientManager._set": BY_LISTENER,
    "workspace.patient_verbs.PatientManager.erase": BY_LISTENER,
    "workspace.patients.hospital_exporting.hospital_export": COMMAND,
    "workspace.patients.keeping.retention_policy": TWICE,
    "workspace.patients.sweeping._sweep": BY_LISTENER,
    "workspace.record_keeping.RetentionPolicyManager.secure": TWICE,
    "workspace.views.exports._in_pieces": BY_LISTENER,
    "drservice.operators.figures._grouped": "sums over hospitals, by design of all",
}


@dataclass(frozen=True)
class World:
    """Two hospitals, somebody with every role in each, and everything of A."""

    hospitals: TwoHospitals
    a: HospitalA
    objects: dict[str, dict]
    in_a: Person
    in_b: Person
    commands: TenantCommands
    knocker: Knocker


@pytest.fixture
def world(people, hospital_a, objects_of_a, two_hospitals, tenant_commands) -> World:
    by_title = {person.title: person for person in people}
    return World(
        two_hospitals,
        hospital_a,
        objects_of_a,
        by_title["everything in A"],
        by_title["everything in B"],
        tenant_commands,
        Knocker(),
    )


def faults(world: World) -> Iterator[str]:
    """Find what is wrong, the quickest looks first; nothing when all guards are up."""
    yield from wrong_in_scopes(world)
    yield from leaks(world, work_of_a_worker)
    yield from leaks(world, counts_and_events)
    yield from foreign_things_shown(world)
    yield from foreign_streams_heard(world)
    yield from foreign_objects_reached(world)
    with managers_that_do_not_narrow():
        yield from foreign_objects_reached(world)
    yield from leaks(world, everybody_at_their_own_doors)


def wrong_in_scopes(world: World) -> Iterator[str]:
    ours, theirs = world.hospitals.b.hospital, world.hospitals.a.hospital
    foreign = Patient(hospital=theirs, mrn="N-1", name="N", birth_date="1960-01-01")
    with hospital_scope(ours.pk):
        for attempt in (
            lambda: Scope(ours.pk).narrow({"hospital_id": theirs.pk}),
            lambda: foreign.save(force_insert=True),
            lambda: Patient.objects.filter(pk=ObjectId()).update(hospital=theirs),
        ):
            try:
                attempt()
            except ScopeError:
                continue
            yield f"{attempt} left its scope"
        if list(Patient.objects.raw_aggregate([])) or Patient.objects.exists():
            yield "A query found what is foreign"


def work_of_a_worker(world: World) -> None:
    """Submit, claim, renew, give back, claim again and complete; and sweep."""
    case = make_queued_case(make_patient(world.a.hospital))
    claimed = case_claim(case_pk=str(case.pk), worker="test")
    assert case_renew(case=claimed)
    assert case_release(case=claimed, reason="Once more") is not None
    again = case_claim(case_pk=str(case.pk), worker="test")
    assert case_complete(case=again, results=[make_result(image) for image in again.images])
    with hospital_scope(world.a.hospital.pk):
        assert Case.objects.newest(where={}, start=0, count=1)[0].pk == case.pk
        Case.objects.with_image(sha256s=[case.images[0].sha256], other_than=ObjectId())
        Case.objects.filter(pk=case.pk).update(due_at=timezone.now())
    cases_reconcile()


def counts_and_events(world: World) -> None:
    hospital = world.a.hospital
    with hospital_scope(hospital.pk):
        upload_reserve(hospital_id=hospital.pk, size_bytes=1)
        upload_give_back(hospital_id=hospital.pk, size_bytes=1)
        audit_record(action=Action.VIEW, subject_kind="test", after={"a": 1})


def everybody_at_their_own_doors(world: World) -> None:
    with world.commands.only(world.a.hospital.pk):
        for row in member_rows():
            for method in sorted(row.methods):
                knock(world, world.in_a, row, method, world.objects[row.what])


def foreign_things_shown(world: World) -> Iterator[str]:
    """Look at every page of B that has no object in its address, for A's people and patients."""
    invited = make_invitation(world.a.hospital)
    telling = [world.hospitals.a.hospital.name, world.a.colleague.user.email, invited.email]
    for row in member_rows():
        if row.what == "-" and "GET" in row.methods and not row.name.endswith("-events"):
            page = knock(world, world.in_b, row, "GET", {})
            shown = [] if page.streaming else [one for one in telling if one in page.text]
            if shown:
                yield f"{row.name} shows {shown} in B"


def foreign_streams_heard(world: World) -> Iterator[str]:
    """Listen in B to a case of A; whoever is allowed in B may still hear of nothing in A."""
    listener = Listener("", world.in_b.user.pk, world.hospitals.b.hospital.pk)
    with patch.object(Listener, "is_allowed", lambda listener: True):
        if _look_if_allowed(listener, partial(_look_at_case, world.a.case.pk)) is not None:
            yield "B hears of a case of A"
        if case_versions_heard(listener):
            yield "B hears of the worklist of A"


def case_versions_heard(listener: Listener):
    return _look_if_allowed(listener, _look_at_worklist).mark


def foreign_objects_reached(world: World) -> Iterator[str]:
    for row in member_rows():
        if not row.has_foreign_object:
            continue
        for method in sorted(row.methods):
            arguments = world.objects[row.what]
            answer = knock(world, world.in_b, row, method, arguments)
            if answer.status_code != 404:
                absent = knock(world, world.in_b, row, method, missing(arguments))
                if answer.status_code != absent.status_code or answer.status_code != 403:
                    yield f"{method} {row.name} answers {answer.status_code} in B"


def member_rows() -> list[Row]:
    return [row for row in ROWS.values() if row.mark.kind == "member"]


def knock(world: World, person: Person, row: Row, method: str, arguments: dict):
    return world.knocker.knock(person, method, address_of(row, arguments), fields_of(row, world.a))


def leaks(world: World, act) -> Iterator[str]:
    """Let somebody do their work: it may not fail, and no command may lack its hospital."""
    with world.commands.expecting_leaks() as found:
        try:
            act(world)
        except Exception as error:  # noqa: BLE001
            yield f"{act.__name__} failed: {type(error).__name__}: {error}"
    yield from map(str, found)


@contextmanager
def managers_that_do_not_narrow() -> Iterator[None]:
    """Leave the doors as the only guard."""

    def bare(manager: ScopedManager) -> Model:
        return super(ScopedManager, manager).get_queryset()

    with patch.object(ScopedManager, "get_queryset", bare):
        yield


def first_fault(world: World) -> str:
    """Return the first fault, and let nothing of the search count against the test itself."""
    with world.commands.expecting_leaks():
        try:
            return next(faults(world), "")
        except Exception as error:  # noqa: BLE001
            return f"{type(error).__name__}: {error}"


@pytest.mark.django_db
@pytest.mark.timeout(900)
def test_the_loss_of_any_guard_is_noticed(world):
    assert first_fault(world) == ""
    found = [one for one in guards() if one.name not in ELSEWHERE]
    assert len(found) > 30
    unnoticed = [str(guard) for guard in found if not noticed(guard, world)]
    assert not unnoticed, "Nothing notices the loss of:\n" + "\n".join(unnoticed)


def noticed(guard: Guard, world: World) -> str:
    with taken_away(guard):
        return first_fault(world)


def test_guards_that_are_noticed_elsewhere_are_there():
    assert not set(ELSEWHERE) - {guard.name for guard in guards()}
