"""Events are kept with the change they are about, in one chain, or neither is."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from bson import ObjectId
from django.db import connection
from pymongo.errors import OperationFailure

from accounts.audit import services, store
from accounts.audit.actions import Action
from accounts.audit.actors import Actor, ActorKind, acting_as
from accounts.audit.chain import PLATFORM
from accounts.audit.errors import AppendOnly, AuditUnavailable
from accounts.audit.models import AuditEvent, AuditHead, SubjectKey
from accounts.audit.sealing import unseal_for
from accounts.audit.services import audit_record, audited
from accounts.audit.subject_keys import subject_key_destroy, subject_unseal
from accounts.audit.verification import chain_check
from accounts.models import Hospital
from accounts.scoping import every_hospital, hospital_scope
from accounts.tests.factories import make_hospital

pytestmark = pytest.mark.django_db

NURSE = Actor(ActorKind.PERSON, user_id=ObjectId(), name="Nurse Joy", address="192.0.2.7")


@pytest.fixture
def hospital() -> Hospital:
    return make_hospital()


def record(hospital: Hospital, **fields) -> AuditEvent:
    fields = {"action": Action.CHANGE, "subject_kind": "case", "subject_id": "1", **fields}
    return audit_record(hospital_id=hospital.pk, **fields)


def verified(hospital_id: ObjectId | None):
    return chain_check(hospital_id)


def count_of(hospital: Hospital) -> int:
    with hospital_scope(hospital.pk):
        return AuditEvent.objects.count()


def raw_events() -> str:
    names = [AuditEvent._meta.db_table, AuditHead._meta.db_table, SubjectKey._meta.db_table]
    return str([list(connection.get_collection(name).find()) for name in names])


def test_events_follow_on_each_other_and_the_head_follows_them(hospital):
    other = make_hospital()
    began = verified(hospital.pk).events
    for number in range(3):
        record(hospital, subject_id=number)
        record(other)
    found = verified(hospital.pk)
    assert found.fault is None
    assert found.events == began + 3
    assert found.hash == store.head_read(hospital.pk)["hash"]
    assert verified(other.pk).fault is None


def test_event_takes_hospital_from_the_scope_and_actor_from_whoever_acts(hospital):
    with hospital_scope(hospital.pk), acting_as(NURSE):
        event = audit_record(action=Action.VIEW, subject_kind="case", subject_id=ObjectId())
        platform = audit_record(action=Action.CHANGE, subject_kind="hospital", hospital_id=PLATFORM)
    assert event.hospital_id == hospital.pk
    assert event.actor_id == str(NURSE.user_id)
    assert "Joy" in unseal_for(event.who)
    assert platform.hospital_id is None
    assert audit_record(action=Action.VIEW, subject_kind="case").hospital_id is None


def test_event_keeps_only_what_differs_and_nothing_of_it_in_the_clear(hospital):
    patient = ObjectId()
    with acting_as(NURSE):
        event = record(
            hospital,
            patient_id=patient,
            before={"name": "Ada Old", "sex": "f"},
            after={"name": "Ada New", "sex": "f"},
            reason="A typing error",
        )
    for words in ("Ada", "typing", "Joy", "192.0.2.7"):
        assert words not in raw_events()
    details = subject_unseal(event.details, patient_id=patient, hospital_id=hospital.pk)
    assert '"before":{"name":"Ada Old"}' in details
    assert '"after":{"name":"Ada New"}' in details
    assert "sex" not in details


def test_destroyed_subject_key_leaves_the_chain_whole_and_the_details_unreadable(hospital):
    erased, kept = ObjectId(), ObjectId()
    events = {
        one: record(hospital, patient_id=one, after={"name": "Ada"}) for one in (erased, kept)
    }
    subject_key_destroy(erased, hospital_id=hospital.pk)
    opened = {
        one: subject_unseal(event.details, patient_id=one, hospital_id=hospital.pk)
        for one, event in events.items()
    }
    assert "Ada" not in opened[erased]
    assert "Ada" in opened[kept]
    assert verified(hospital.pk).fault is None


def test_event_about_an_erased_patient_keeps_the_reason_alone(hospital):
    patient = ObjectId()
    subject_key_destroy(patient, hospital_id=hospital.pk)
    event = record(hospital, patient_id=patient, after={"name": "Ada"}, reason="Wish of 3 March")
    details = unseal_for(event.details)
    assert "Wish of 3 March" in details
    assert "Ada" not in details


def test_event_stands_or_falls_with_the_change(hospital):
    @audited
    def rename(name: str) -> None:
        Hospital.objects.filter(pk=hospital.pk).update(name=name)
        record(hospital)
        if name == "Bad":
            raise ZeroDivisionError

    began = count_of(hospital)
    with pytest.raises(ZeroDivisionError):
        rename("Bad")
    assert count_of(hospital) == began
    rename("Good")
    assert count_of(hospital) == began + 1
    hospital.refresh_from_db()
    assert hospital.name == "Good"
    assert verified(hospital.pk).fault is None


@pytest.mark.parametrize(
    ("step", "word_left"),
    [
        ("event_insert", True),
        ("head_move_from", True),
        ("event_insert", False),
        ("head_read", False),
        ("head_move", False),
    ],
)
def test_change_is_not_applied_when_the_event_can_not_be_kept(
    hospital, monkeypatch, step, word_left
):
    """Whether or not the turn before has left word of where the head is."""

    @audited
    def rename(name: str) -> None:
        Hospital.objects.filter(pk=hospital.pk).update(name=name)
        record(hospital)

    record(hospital)
    began = count_of(hospital)
    monkeypatch.setattr(store, step, broken)
    if not word_left:
        monkeypatch.setattr(services, "word_left", lambda chain: "")
    with pytest.raises(AuditUnavailable):
        rename("Changed")
    monkeypatch.undo()
    assert count_of(hospital) == began
    assert not Hospital.objects.filter(name="Changed").exists()
    assert verified(hospital.pk).fault is None


def broken(*args, **kwargs):
    raise OperationFailure("the audit collection refuses")


@pytest.mark.parametrize("word", [True, False])
@pytest.mark.parametrize(
    "alteration",
    [
        {"$inc": {"seq": 5}},
        {"$set": {"hash": "f" * 64}},
        {"$set": {"mac": "f" * 64}},
        {"$set": {"more": 1}},
        {"$unset": {"mac": ""}},
    ],
)
def test_nothing_is_appended_to_an_altered_head(hospital, monkeypatch, alteration, word):
    record(hospital)
    if not word:
        monkeypatch.setattr(services, "word_left", lambda chain: "")
    heads = connection.get_collection(AuditHead._meta.db_table)
    heads.update_one({"_id": str(hospital.pk)}, alteration)
    altered, began = heads.find_one({"_id": str(hospital.pk)}), count_of(hospital)
    with pytest.raises(AuditUnavailable, match="verify_audit"):
        record(hospital)
    assert heads.find_one({"_id": str(hospital.pk)}) == altered
    assert count_of(hospital) == began


@pytest.mark.parametrize("word", ["", "nonsense", '[{"$gt": 0}]', f"7:{'a' * 64}", f"0:{'0' * 64}"])
def test_word_that_is_wrong_misleads_nobody(hospital, monkeypatch, word):
    record(hospital)
    began = verified(hospital.pk).events
    monkeypatch.setattr(services, "word_left", lambda chain: word)
    record(hospital)
    assert verified(hospital.pk).events == began + 1
    assert verified(hospital.pk).fault is None


def test_model_refuses_to_be_written_changed_or_deleted(hospital):
    event = record(hospital)
    with hospital_scope(hospital.pk):
        writes = [
            lambda: AuditEvent.objects.filter(pk=event.pk).update(action="x"),
            lambda: AuditEvent.objects.all().delete(),
            lambda: AuditEvent.objects.get(pk=event.pk).delete(),
            lambda: AuditEvent.objects.get(pk=event.pk).save(),
            lambda: AuditEvent.objects.create(hospital_id=hospital.pk),
            lambda: AuditEvent.objects.bulk_create([event]),
            lambda: AuditEvent.objects.bulk_update([event], ["action"]),
            lambda: AuditEvent.objects.filter(pk=event.pk)._raw_delete("default"),
            lambda: AuditEvent._base_manager.filter(pk=event.pk).update(action="x"),
            lambda: AuditHead.objects.update(seq=1),
        ]
        for write in writes:
            with pytest.raises(AppendOnly):
                write()
    assert verified(hospital.pk).fault is None


def test_model_shows_the_events_of_the_open_scope_alone(hospital):
    other = make_hospital()
    ours, theirs = record(hospital), record(other)
    with hospital_scope(hospital.pk):
        seen = set(AuditEvent.objects.values_list("pk", flat=True))
    assert ours.pk in seen
    assert theirs.pk not in seen
    with every_hospital("a test"):
        assert AuditEvent.objects.filter(pk=theirs.pk).exists()


@pytest.mark.parametrize(("threads", "take_turns"), [(20, True), (8, False)])
def test_threads_at_one_chain_lose_nothing_and_never_fork(
    hospital, monkeypatch, threads, take_turns
):
    """Without turns threads meet in the database, as those of several processes do."""
    each = 5
    if not take_turns:
        monkeypatch.setattr(services, "turn", lambda chain: nullcontext())

    @audited
    def change(number: int) -> None:
        record(hospital, subject_id=number)

    def work(thread: int) -> None:
        for number in range(each):
            if number % 2:
                with hospital_scope(hospital.pk):
                    change(thread * each + number)
            else:
                change(thread * each + number)
        connection.close()

    began = verified(hospital.pk).events
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    found = verified(hospital.pk)
    assert found.fault is None
    assert found.events == began + threads * each
    with hospital_scope(hospital.pk):
        subjects = [one.subject_id for one in AuditEvent.objects.filter(subject_kind="case")]
    assert sorted(map(int, subjects)) == list(range(threads * each))
