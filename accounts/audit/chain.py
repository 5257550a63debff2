"""The hash chain: what an event's hash covers, and where a chain was tampered with.

Knows neither Django nor the database: events and heads are plain documents, so that the verifier
says the same of a chain in a test, in the database, or in a dump.
"""

import datetime as dt
import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bson import ObjectId

# In this order, and all of them: another version of the encoding needs another FORMAT.
FORMAT = "drservice-audit-1"
HASHED_FIELDS = (
    "_id",
    "hospital_id",
    "seq",
    "at",
    "action",
    "subject_kind",
    "subject_id",
    "patient_id",
    "actor_kind",
    "actor_id",
    "who",
    "details",
    "previous",
)
EVENT_FIELDS = frozenset({*HASHED_FIELDS, "hash"})
HEAD_FIELDS = frozenset({"_id", "hospital_id", "seq", "hash", "mac"})
PLATFORM = "platform"
# What the first event of a chain has in place of a previous hash.
NOTHING_BEFORE = ""

PLACE = re.compile(r"[0-9]{1,18}:[0-9a-f]{64}")

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001
_MILLISECOND = dt.timedelta(milliseconds=1)


@dataclass(frozen=True)
class Fault:
    """The first thing that is wrong with a chain. `seq` is None when no one event is at fault."""

    seq: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.seq is None else f"event {self.seq}: {self.what}"


@dataclass(frozen=True)
class Verdict:
    """What the verifier found: how many events hold, the last hash, and the first fault."""

    events: int
    hash: str
    fault: Fault | None = None


@dataclass(frozen=True)
class Place:
    """A place in a chain, as people keep it: the number of an event and its hash."""

    seq: int
    hash: str

    @classmethod
    def read(cls, text: str) -> "Place":
        """Return the place that `str` has written. Raises ValueError for anything else."""
        number, _, digest = text.strip().partition(":")
        if not PLACE.fullmatch(text.strip()):
            raise ValueError(f"{text!r} is no head: it looks like 1234:, then 64 hex digits.")
        return cls(int(number), digest)

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


BEGINNING = Place(0, NOTHING_BEFORE)


def chain_name(hospital_id: ObjectId | None) -> str:
    """Return the name of a hospital's chain, or of the platform's."""
    return PLATFORM if hospital_id is None else str(hospital_id)


def event_name(hospital_id: ObjectId | None, seq: int) -> str:
    """Return the id of an event: one for each place in each chain, so that no chain can fork."""
    return f"{chain_name(hospital_id)}-{seq}"


def event_hash(event: Mapping, key: bytes) -> str:
    """Return the keyed hash of an event: over all its fields, so also its place and its forerunner.

    Raises KeyError when a field is missing.
    """
    return _mac([FORMAT, *[event[field] for field in HASHED_FIELDS]], key)


def head_mac(head: Mapping, key: bytes) -> str:
    """Return the keyed hash by which a head shows that the service itself has moved it."""
    return _mac([FORMAT, "head", head["_id"], head["hospital_id"], head["seq"], head["hash"]], key)


def head_holds(head: Mapping, key: bytes) -> bool:
    """Say whether a head is as the service wrote it."""
    if head.keys() != HEAD_FIELDS:
        return False
    return hmac.compare_digest(str(head["mac"]), head_mac(head, key))


def chain_verify(
    events: Iterable[Mapping],
    head: Callable[[], Mapping | None],
    *,
    hospital_id: ObjectId | None,
    key: bytes,
    kept: Iterable[str] = (),
    since: Place = BEGINNING,
) -> Verdict:
    """Walk a chain in its order and stop at the first fault; holds one event at a time.

    `head` is asked for once the events are through. `kept` are hashes that were noted outside the
    database: each must be the hash of an event. `since` is where an earlier walk has ended;
    `events` then go on after it.
    """
    walk = _Walk(hospital_id, key, set(kept), since)
    for event in events:
        fault = walk.fault_of(event)
        if fault is not None:
            return Verdict(walk.seq, walk.hash, fault)
        walk.step(event)
    return Verdict(walk.seq, walk.hash, _fault_at_the_end(walk, head()))


class _Walk:
    """How far a verification has come: the place and the hash of the last event that held."""

    def __init__(
        self, hospital_id: ObjectId | None, key: bytes, kept: set[str], since: Place
    ) -> None:
        self.hospital_id, self.key, self.kept = hospital_id, key, kept - {since.hash}
        self.seq, self.hash = since.seq, since.hash

    def step(self, event: Mapping) -> None:
        self.seq, self.hash = event["seq"], event["hash"]
        self.kept.discard(self.hash)

    def fault_of(self, event: Mapping) -> Fault | None:
        seq = event.get("seq")
        if not isinstance(seq, int):
            return Fault(self.seq + 1, "changed: its number is no number")
        if seq != self.seq + 1:
            return self._misplaced(seq)
        if event.keys() != EVENT_FIELDS:
            return Fault(seq, "changed: it has fields too many or too few")
        if event["hospital_id"] != self.hospital_id:
            return Fault(seq, "changed: it belongs to another chain")
        if event["hash"] != event_hash(event, self.key):
            return Fault(seq, "changed since it was written")
        if event["previous"] != self.hash:
            return Fault(seq, "out of order: it doesn't follow on the event before it")
        return None

    def _misplaced(self, seq: int) -> Fault:
        if seq > self.seq + 1:
            return Fault(self.seq + 1, "missing")
        return Fault(self.seq + 1, f"out of order: number {int(seq)} stands in its place")


def _fault_at_the_end(walk: _Walk, head: Mapping | None) -> Fault | None:
    if head is None:
        return _fault_without_head(walk)
    if head.get("_id") != chain_name(walk.hospital_id) or not head_holds(head, walk.key):
        return Fault(None, "the head of the chain was altered")
    if head["seq"] > walk.seq:
        return Fault(walk.seq + 1, f"missing: the chain is cut off here, before {head['seq']}")
    if head["seq"] < walk.seq:
        return Fault(head["seq"] + 1, "beyond the head: the head was set back")
    if head["hash"] != walk.hash:
        return Fault(walk.seq, "not the event that the head names")
    return _fault_of_kept(walk)


def _fault_without_head(walk: _Walk) -> Fault | None:
    if walk.seq:
        return Fault(None, "the head of the chain is missing")
    return _fault_of_kept(walk)


def _fault_of_kept(walk: _Walk) -> Fault | None:
    if not walk.kept:
        return None
    wanted, more = min(walk.kept), len(walk.kept) - 1
    others = f" and {more} others" if more else ""
    return Fault(
        walk.seq + 1,
        f"missing: no event has the hash {wanted}{others}, noted or kept elsewhere; the chain was "
        "cut off and its head set back",
    )


def _mac(values: list, key: bytes) -> str:
    return hmac.digest(key, json.dumps(values, default=_typed).encode(), "sha256").hex()


def _typed(value: object) -> list:
    """Encode what JSON has no word for, so that no two values of different kinds look alike."""
    if isinstance(value, ObjectId):
        return ["id", str(value)]
    if isinstance(value, dt.datetime):
        return ["ms", (value.replace(tzinfo=None) - _EPOCH) // _MILLISECOND]
    return [type(value).__name__, repr(value)]
