"""What an event costs, in commands: the time of a command drifts with the machine, its number not.

Every page that shows a patient and every change waits for its event. Who adds a command to all of
them should do so knowingly.
"""

import time

import pytest
from bson import ObjectId
from django.db import connection

from accounts.audit import open_keys, services
from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent, AuditHead, SubjectKey
from accounts.audit.sealing import unseal_for
from accounts.audit.services import audit_record, audit_view, audited
from accounts.audit.subject_keys import PREFIX, subject_key_destroy, subject_unseal
from accounts.audit.verification import chain_check
from accounts.key_services import hospital_key_destroy
from accounts.keys.key_ring import KEY_CACHE_S
from accounts.models import Hospital
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital

pytestmark = pytest.mark.django_db

HEAD, EVENT, KEY = (model._meta.db_table for model in (AuditHead, AuditEvent, SubjectKey))
APPENDED = [("findAndModify", HEAD), ("insert", EVENT)]
COMMITTED = [("commitTransaction", 1)]


@pytest.fixture
def hospital() -> Hospital:
    """Return a hospital whose own keys are open, as those of every hospital at work are."""
    hospital = make_hospital()
    change(hospital, ObjectId())
    return hospital


def change(hospital: Hospital, patient_id: ObjectId | None, **fields) -> AuditEvent:
    fields = {"after": {"name": "Ada"}, **fields}
    return audit_record(
        action=Action.CHANGE,
        subject_kind="case",
        hospital_id=hospital.pk,
        patient_id=patient_id,
        **fields,
    )


def sent(commands: list[tuple[str, dict]]) -> list[tuple[str, object]]:
    return [(name, body[name]) for name, body in commands]


def test_view_takes_two_commands_and_the_commit(hospital, tenant_commands):
    with hospital_scope(hospital.pk), tenant_commands.recording() as commands:
        audit_view(subject_kind="case", subject_id=ObjectId(), patient_id=ObjectId())
    assert sent(commands) == [*APPENDED, *COMMITTED]


def test_event_without_word_of_the_head_looks_for_it(hospital, tenant_commands, monkeypatch):
    monkeypatch.setattr(services, "word_left", lambda chain: "")
    with tenant_commands.recording() as commands:
        change(hospital, None, after=None)
    looked = [("find", HEAD), ("update", HEAD), ("insert", EVENT)]
    assert sent(commands) == [*looked, *COMMITTED]


def test_event_after_one_that_was_undone_looks_for_the_head_once(hospital, tenant_commands):
    @audited
    def fail() -> None:
        change(hospital, None, after=None)
        raise ZeroDivisionError

    with hospital_scope(hospital.pk), pytest.raises(ZeroDivisionError):
        fail()
    with tenant_commands.recording() as first:
        change(hospital, None, after=None)
    with tenant_commands.recording() as next_one:
        change(hospital, None, after=None)
    assert [name for name, _ in first][:3] == ["findAndModify", "find", "update"]
    assert sent(next_one) == [*APPENDED, *COMMITTED]
    assert chain_check(hospital.pk).fault is None


def test_first_change_of_a_record_makes_its_key_and_the_next_asks_for_none(
    hospital, tenant_commands
):
    patient = ObjectId()
    with tenant_commands.recording() as first:
        change(hospital, patient)
    with tenant_commands.recording() as next_one:
        change(hospital, patient)
    assert sent(first) == [("find", KEY), ("insert", KEY), *APPENDED, *COMMITTED]
    assert sent(next_one) == [*APPENDED, *COMMITTED]


def test_change_of_a_record_whose_key_is_not_open_takes_one_command_more(hospital, tenant_commands):
    patient = ObjectId()
    change(hospital, patient)
    open_keys.forget_open_keys()
    with tenant_commands.recording() as commands:
        event = change(hospital, patient)
    assert sent(commands) == [("find", KEY), *APPENDED, *COMMITTED]
    assert "Ada" in subject_unseal(event.details, patient_id=patient, hospital_id=hospital.pk)


def test_event_shares_the_commit_of_its_change(hospital, tenant_commands):
    @audited
    def rename() -> None:
        Hospital.objects.filter(pk=hospital.pk).update(name="Lake Clinic")
        change(hospital, patient)

    patient = ObjectId()
    change(hospital, patient)
    with tenant_commands.recording() as commands:
        rename()
    assert sent(commands) == [("update", Hospital._meta.db_table), *APPENDED, *COMMITTED]


def test_key_that_was_made_in_vain_seals_nothing_later(hospital):
    @audited
    def fail() -> None:
        change(hospital, patient)
        raise ZeroDivisionError

    patient = ObjectId()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert open_keys.key_open(patient) is None
    event = change(hospital, patient)
    open_keys.forget_open_keys()
    assert "Ada" in subject_unseal(event.details, patient_id=patient, hospital_id=hospital.pk)


def test_key_is_open_for_seconds_from_when_it_was_read(hospital):
    patient, key = ObjectId(), b"k" * 32
    open_keys.key_keep(patient, key, time.monotonic())
    assert open_keys.key_open(patient) == key
    open_keys.key_keep(patient, key, time.monotonic() - KEY_CACHE_S)
    assert open_keys.key_open(patient) is None


def test_open_keys_of_others_are_forgotten_in_time():
    long_ago = time.monotonic() - KEY_CACHE_S
    for _ in range(5):
        open_keys.key_keep(ObjectId(), b"k" * 32, long_ago)
    open_keys.key_keep(ObjectId(), b"k" * 32, time.monotonic())
    assert len(open_keys._open) == 1


def test_key_is_closed_here_as_soon_as_its_destruction_begins(hospital):
    @audited
    def erase() -> AuditEvent:
        subject_key_destroy(patient, hospital_id=hospital.pk)
        # An event that was under way elsewhere in this process ends just now.
        open_keys.key_keep(patient, b"k" * 32, time.monotonic())
        return change(hospital, patient, reason="Wish of 3 March")

    patient = ObjectId()
    change(hospital, patient)
    assert open_keys.key_open(patient) is not None
    event = erase()
    details = unseal_for(event.details)
    assert "Wish of 3 March" in details
    assert "Ada" not in details
    assert open_keys.key_open(patient) is None


def test_destruction_that_was_undone_leaves_the_key_in_use(hospital):
    @audited
    def erase() -> None:
        subject_key_destroy(patient, hospital_id=hospital.pk)
        raise ZeroDivisionError

    patient = ObjectId()
    change(hospital, patient)
    with pytest.raises(ZeroDivisionError):
        erase()
    event = change(hospital, patient)
    assert "Ada" in subject_unseal(event.details, patient_id=patient, hospital_id=hospital.pk)


def test_key_destroyed_by_another_process_seals_nothing_that_can_be_read(hospital):
    patient = ObjectId()
    change(hospital, patient)
    keys = connection.get_collection(KEY)
    keys.update_one({"_id": patient}, {"$set": {"wrapped": ""}})
    event = change(hospital, patient, reason="Too late")
    assert event.details.startswith(PREFIX)
    assert "Ada" not in subject_unseal(event.details, patient_id=patient, hospital_id=hospital.pk)


def test_patients_keys_close_with_the_key_of_their_hospital(hospital):
    patient = ObjectId()
    change(hospital, patient)
    hospital_key_destroy(hospital=hospital, reason="The contract has ended")
    assert open_keys.key_open(patient) is not None
    event = change(hospital, patient, reason="Afterwards")
    assert not event.details.startswith(PREFIX)
    assert "Ada" not in unseal_for(event.details)
