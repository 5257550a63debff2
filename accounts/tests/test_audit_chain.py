"""The verifier finds whatever is done to a chain by somebody who has the database, not the key."""

import copy
import datetime as dt
import random

import pytest
from bson import ObjectId

from accounts.audit.chain import HASHED_FIELDS, Place, chain_verify, head_mac
from accounts.tests.audit_chains import KEY, make_chain

HOSPITAL = ObjectId()
LENGTH = 40
# 250 of each of the four kinds.
TAMPERINGS = 250


@pytest.fixture(scope="module")
def chain() -> tuple[list, dict]:
    return make_chain(LENGTH, HOSPITAL)


def verdict(events, head, **options):
    return chain_verify(events, lambda: head, hospital_id=HOSPITAL, key=KEY, **options)


def edit(events: list, dice: random.Random) -> int:
    """Change one field of one event to something else of some kind; return the event's number."""
    place = dice.randrange(LENGTH)
    field = dice.choice([*HASHED_FIELDS, "hash", "added"])
    if field != "added" and dice.random() < 0.2:
        del events[place][field]
    else:
        events[place][field] = other_value(events[place].get(field), dice)
    return place + 1


def other_value(value, dice: random.Random):
    candidates = [None, "", "x", 0, True, 1.0, ObjectId(), {"a": 1}, [], str(value)]
    if isinstance(value, str):
        candidates += [value + "0", value[:-1], value.swapcase()]
    if isinstance(value, int):
        candidates += [value + 1, value - 1, float(value), str(value)]
    if isinstance(value, dt.datetime):
        candidates += [value + dt.timedelta(milliseconds=1), value.isoformat()]
    return dice.choice([one for one in candidates if not same(one, value)])


def same(one, other) -> bool:
    return type(one) is type(other) and one == other


def delete(events: list, dice: random.Random) -> int:
    place = dice.randrange(LENGTH - 1)
    count = dice.randint(1, LENGTH - 1 - place)
    del events[place : place + count]
    return place + 1


def reorder(events: list, dice: random.Random) -> int:
    """Swap two events: where they stand, or what they say under each other's number."""
    low, high = sorted(dice.sample(range(LENGTH), 2))
    events[low], events[high] = events[high], events[low]
    if dice.random() < 0.5:
        for name in ("_id", "seq", "previous"):
            events[low][name], events[high][name] = events[high][name], events[low][name]
    return low + 1


def cut(events: list, dice: random.Random) -> int:
    place = dice.randrange(LENGTH)
    del events[place:]
    return place + 1


@pytest.mark.parametrize("tamper", [edit, delete, reorder, cut])
def test_verifier_finds_each_of_250_random_tamperings_and_names_the_first_bad_event(chain, tamper):
    dice = random.Random(f"{tamper.__name__} 4711")
    for _ in range(TAMPERINGS):
        events, head = copy.deepcopy(chain)
        spoilt = tamper(events, dice)
        found = verdict(events, head)
        assert found.fault is not None
        assert found.fault.seq == spoilt, found.fault
        assert found.events == spoilt - 1


def test_whole_chain_holds(chain):
    events, head = chain
    found = verdict(events, head, kept=[events[0]["hash"], head["hash"]])
    assert found.fault is None
    assert (found.events, found.hash) == (LENGTH, head["hash"])


def test_verifier_says_what_is_wrong(chain):
    events, head = chain
    said = {
        "event 3: changed since it was written": [*events[:2], {**events[2], "action": "sign"}],
        "event 3: missing": events[:2] + events[3:],
        "event 3: changed: it has fields too many": [*events[:2], {**events[2], "note": "x"}],
        "event 3: out of order": [*events[:2], *events[1:]],
        f"event {LENGTH}: missing: the chain is cut off here": events[:-1],
        "event 1: missing: the chain is cut off": [],
    }
    for words, tampered in said.items():
        assert str(verdict(tampered, head).fault).startswith(words)


def test_events_written_with_another_key_are_found(chain):
    """Somebody with the database but without the key writes a chain that agrees with itself."""
    events, head = make_chain(LENGTH, HOSPITAL, key=b"a guess")
    assert verdict(events, head).fault.seq == 1
    assert str(verdict(chain[0], head).fault) == "the head of the chain was altered"


@pytest.mark.parametrize("field", ["_id", "hospital_id", "seq", "hash", "mac", "added"])
def test_altered_head_is_found(chain, field):
    events, head = chain
    for value in (None, "", 7, ObjectId(), "x" * 64):
        fault = verdict(events, {**head, field: value}).fault
        assert str(fault) == "the head of the chain was altered"


def test_missing_head_is_found(chain):
    assert str(verdict(chain[0], None).fault) == "the head of the chain is missing"


def test_head_set_back_with_an_old_copy_is_found_by_the_events_beyond_it(chain):
    events, _ = chain
    old = head_of_first(events, 10)
    assert verdict(events, old).fault.seq == 11


def test_tail_cut_with_the_head_set_back_is_found_by_the_hash_kept_elsewhere(chain):
    events, head = chain
    cut_off, old = events[:10], head_of_first(events, 10)
    assert verdict(cut_off, old).fault is None
    fault = verdict(cut_off, old, kept=[head["hash"]]).fault
    assert fault.seq == 11
    assert head["hash"] in str(fault)


def test_chain_of_another_hospital_does_not_pass_for_ours(chain):
    theirs, their_head = make_chain(LENGTH, ObjectId())
    assert verdict(theirs, their_head).fault.seq == 1


def test_emptied_chain_is_found_by_the_hash_kept_elsewhere(chain):
    assert verdict([], None).fault is None
    assert verdict([], None, kept=[chain[1]["hash"]]).fault.seq == 1


def head_of_first(events: list, count: int) -> dict:
    """Return the head as it was, rightly, when the chain had so many events."""
    last = events[count - 1]
    head = {
        "_id": str(HOSPITAL),
        "hospital_id": HOSPITAL,
        "seq": count,
        "hash": last["hash"],
    }
    return {**head, "mac": head_mac(head, KEY)}


def test_walk_can_go_on_from_where_an_earlier_one_ended(chain):
    events, head = chain
    tenth = Place(10, events[9]["hash"])
    found = verdict(events[10:], head, since=tenth)
    assert (found.events, found.fault) == (LENGTH, None)
    assert verdict(events[11:], head, since=tenth).fault.seq == 11
    assert verdict(events[10:], head, since=Place(10, "0" * 64)).fault.seq == 11


def test_place_is_written_and_read_back():
    place = Place(12, "ab" * 32)
    assert Place.read(f" {place}\n") == place
    for wrong in ("", "12", ":", f"x:{'ab' * 32}", f"12:{'ab' * 31}", f"12:{'AB' * 32}"):
        with pytest.raises(ValueError, match="is no head"):
            Place.read(wrong)
