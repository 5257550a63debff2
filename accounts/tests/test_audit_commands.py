"""verify_audit on a real database: every tampering is found, and the cure of a lost head works."""

import random
from io import StringIO

import pytest
from bson import ObjectId
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.audit import store
from accounts.audit.actions import Action
from accounts.audit.anchors import heads_anchor
from accounts.audit.chain import PLATFORM
from accounts.audit.errors import AuditUnavailable
from accounts.audit.models import AuditEvent, AuditHead
from accounts.audit.selectors import events_told
from accounts.audit.services import audit_record
from accounts.audit.verification import chain_check, head_place
from accounts.models import Hospital, User
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from accounts.tests.test_audit_chain import other_value

pytestmark = pytest.mark.django_db

LENGTH = 25
TAMPERINGS = 25


@pytest.fixture
def hospital() -> Hospital:
    hospital = make_hospital()
    while (last := store.event_last(hospital.pk)) is None or last["seq"] < LENGTH:
        record(hospital.pk)
    return hospital


def record(hospital_id) -> None:
    audit_record(
        action=Action.CHANGE,
        subject_kind="case",
        subject_id=ObjectId(),
        hospital_id=hospital_id,
        patient_id=None if hospital_id == PLATFORM else ObjectId(),
        after={"state": "graded"},
    )


def events():
    return connection.get_collection(AuditEvent._meta.db_table)


def heads():
    return connection.get_collection(AuditHead._meta.db_table)


def verify(*arguments, **options) -> str:
    """Return what the command printed; raise CommandError, with all that it printed, when bad."""
    out, err = StringIO(), StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out, stderr=err, **options)
    except CommandError as error:
        raise CommandError(f"{err.getvalue()} {error}") from error
    return out.getvalue()


def edit(hospital, dice) -> int:
    seq = dice.randint(1, LENGTH)
    event = event_at(hospital, seq)
    field = dice.choice([name for name in event if name != "_id"])
    update_one(hospital, seq, {"$set": {field: other_value(event[field], dice)}})
    return seq


def delete(hospital, dice) -> int:
    low, high = sorted(dice.sample(range(1, LENGTH), 2))
    inside = {"hospital_id": hospital.pk, "seq": {"$gte": low, "$lte": high}}
    assert events().delete_many(inside).deleted_count == high - low + 1
    return low


def reorder(hospital, dice) -> int:
    """Let two events change places, each under the other one's number."""
    low, high = sorted(dice.sample(range(1, LENGTH + 1), 2))
    one, other = event_at(hospital, low), event_at(hospital, high)
    for place, content in ((one, other), (other, one)):
        moved = {**content, "_id": place["_id"], "seq": place["seq"]}
        events().replace_one({"_id": place["_id"]}, moved)
    return low


def cut(hospital, dice) -> int:
    seq = dice.randint(1, LENGTH)
    events().delete_many({"hospital_id": hospital.pk, "seq": {"$gte": seq}})
    return seq


def event_at(hospital, seq: int) -> dict:
    return events().find_one({"hospital_id": hospital.pk, "seq": seq})


def update_one(hospital, seq: int, update: dict) -> None:
    assert events().update_one({"hospital_id": hospital.pk, "seq": seq}, update).modified_count == 1


@pytest.mark.parametrize("tamper", [edit, delete, reorder, cut])
def test_every_tampering_with_the_database_is_found_and_named(hospital, tamper):
    dice = random.Random(f"{tamper.__name__} 11")
    whole = list(events().find())
    for _ in range(TAMPERINGS):
        seq = tamper(hospital, dice)
        assert chain_check(hospital.pk).fault.seq == seq
        events().delete_many({})
        events().insert_many(whole)
    assert chain_check(hospital.pk).fault is None


def test_command_vouches_for_every_chain_and_names_heads(hospital):
    record(PLATFORM)
    told = verify(all=True)
    assert f"{hospital.name}: {LENGTH} events hold. Head: {head_place(hospital.pk)}" in told
    assert "The platform: " in told
    assert verify(hospital.name) == verify(str(hospital.pk))
    assert "The platform: " in verify(platform=True)


def test_command_names_the_first_bad_event_of_each_bad_chain(hospital):
    other = make_hospital()
    record(other.pk)
    update_one(hospital, 7, {"$set": {"action": "sign"}})
    update_one(hospital, 9, {"$set": {"action": "sign"}})
    with pytest.raises(CommandError, match="event 7: changed since it was written") as refusal:
        verify()
    assert "event 9" not in str(refusal.value)
    assert "1 of " in str(refusal.value)
    assert "events hold" in verify(other.name)


def test_command_proves_the_end_with_a_head_kept_elsewhere(hospital):
    old_head = heads().find_one({"_id": str(hospital.pk)})
    record(hospital.pk)
    kept = str(head_place(hospital.pk))
    assert "events hold" in verify(hospital.name, head=[kept])
    events().delete_one({"hospital_id": hospital.pk, "seq": LENGTH + 1})
    heads().replace_one({"_id": str(hospital.pk)}, old_head)
    assert "events hold" in verify(hospital.name)
    with pytest.raises(CommandError, match=f"event {LENGTH + 1}: missing"):
        verify(hospital.name, head=[kept])


def test_cut_with_the_head_set_back_is_found_by_what_the_platform_noted(hospital):
    old_head = heads().find_one({"_id": str(hospital.pk)})
    for _ in range(3):
        record(hospital.pk)
    assert heads_anchor() == 1
    assert heads_anchor() == 0
    assert "events hold" in verify(hospital.name)
    place = head_place(hospital.pk)
    events().delete_many({"hospital_id": hospital.pk, "seq": {"$gt": LENGTH}})
    heads().replace_one({"_id": str(hospital.pk)}, old_head)
    with pytest.raises(CommandError, match=f"event {LENGTH + 1}: missing.*{place.hash}"):
        verify(hospital.name)


def test_whole_chain_taken_away_is_found_by_what_the_platform_noted(hospital):
    heads_anchor()
    events().delete_many({"hospital_id": hospital.pk})
    heads().delete_one({"_id": str(hospital.pk)})
    with pytest.raises(CommandError, match="event 1: missing"):
        verify()


def test_operator_made_by_command_is_an_event_or_is_not_made(audit_refused):
    def make() -> None:
        call_command(
            "createsuperuser", "--noinput", "--email", "op@a.example", "--name", "Op", verbosity=0
        )

    with audit_refused(), pytest.raises(AuditUnavailable):
        make()
    assert not User.objects.filter(email="op@a.example").exists()
    make()
    last = store.event_last(None)
    user = User.objects.get(email="op@a.example")
    assert (last["action"], last["subject_id"]) == ("create", str(user.pk))
    assert last["actor_kind"] == "command"


def test_command_goes_on_from_a_head_that_was_vouched_for(hospital):
    kept = str(head_place(hospital.pk))
    record(hospital.pk)
    assert "1 events hold" in verify(hospital.name, since=kept)
    update_one(hospital, 3, {"$set": {"action": "sign"}})
    assert "1 events hold" in verify(hospital.name, since=kept)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["Nowhere"], {}),
        (["000000000000000000000000"], {}),
        ([], {"head": ["1:" + "a" * 64]}),
        ([], {"platform": True, "head": ["nonsense"]}),
        ([], {"platform": True, "since": "nonsense"}),
    ],
)
def test_command_refuses_what_it_can_not_verify(arguments, options):
    with pytest.raises(CommandError):
        verify(*arguments, **options)


def test_chain_that_grows_while_it_is_verified_holds(hospital, monkeypatch):
    read = store.head_read
    grown = []

    def grow_first(hospital_id):
        if len(grown) < 3:
            grown.append(None)
            monkeypatch.setattr(store, "head_read", read)
            record(hospital.pk)
            monkeypatch.setattr(store, "head_read", grow_first)
        return read(hospital_id)

    monkeypatch.setattr(store, "head_read", grow_first)
    found = chain_check(hospital.pk)
    assert found.fault is None
    assert found.events == LENGTH + 3


def test_head_command_prints_what_verify_takes(hospital):
    out = StringIO()
    call_command("audit_head", hospital.name, stdout=out)
    title, _, place = out.getvalue().strip().partition("\t")
    assert title == hospital.name
    assert "events hold" in verify(hospital.name, head=[place])


@pytest.mark.parametrize("harm", [{"$inc": {"seq": 1}}, {"$set": {"mac": "0" * 64}}, None])
def test_altered_or_lost_head_stops_the_hospital_until_it_is_mended(hospital, harm):
    where = {"_id": str(hospital.pk)}
    heads().update_one(where, harm) if harm else heads().delete_one(where)
    with pytest.raises(AuditUnavailable):
        record(hospital.pk)
    assert "altered" in head_printed(hospital)
    head_printed(hospital, mend="Restored from a backup")
    record(hospital.pk)
    assert chain_check(hospital.pk).fault is None
    with hospital_scope(hospital.pk):
        mended = AuditEvent.objects.filter(action=Action.HEAD_MEND)
    [told] = events_told(mended, hospital_id=hospital.pk)
    assert told.reason == "Restored from a backup"
    assert "head" in told.after["found"]
    assert told.event.actor_kind == "command"
    assert told.name.startswith("audit_head (")


def head_printed(hospital, **options) -> str:
    out = StringIO()
    call_command("audit_head", hospital.name, stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


def test_head_that_holds_is_not_mended(hospital):
    with pytest.raises(CommandError, match="nothing to mend"):
        call_command("audit_head", hospital.name, mend="To be safe", stdout=StringIO())
    with pytest.raises(CommandError, match="Name the hospital"):
        call_command("audit_head", mend="To be safe", stdout=StringIO())
