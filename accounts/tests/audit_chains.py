"""Chains for tests: in memory, exactly as they lie in the database."""

import datetime as dt
from collections.abc import Iterator

from bson import ObjectId

from accounts.audit.chain import (
    NOTHING_BEFORE,
    chain_name,
    event_hash,
    event_name,
    head_mac,
)

KEY = b"the key of a test's chains......"
BEGAN = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - as the database gives it


def make_chain(length: int, hospital_id: ObjectId | None, key: bytes = KEY) -> tuple[list, dict]:
    """Return the documents of a chain and its head."""
    events = list(make_events(length, hospital_id, key))
    head = {
        "_id": chain_name(hospital_id),
        "hospital_id": hospital_id,
        "seq": length,
        "hash": events[-1]["hash"],
    }
    return events, {**head, "mac": head_mac(head, key)}


def make_events(length: int, hospital_id: ObjectId | None, key: bytes) -> Iterator[dict]:
    """Give the events of a chain one by one."""
    previous = NOTHING_BEFORE
    for seq in range(1, length + 1):
        event = _event(seq, hospital_id, previous)
        event["hash"] = previous = event_hash(event, key)
        yield event


def _event(seq: int, hospital_id: ObjectId | None, previous: str) -> dict:
    return {
        "_id": event_name(hospital_id, seq),
        "hospital_id": hospital_id,
        "seq": seq,
        "at": BEGAN + dt.timedelta(seconds=seq),
        "action": ("view", "change")[seq % 2],
        "subject_kind": "patient",
        "subject_id": str(ObjectId()),
        "patient_id": ObjectId() if seq % 3 else None,
        "actor_kind": "person",
        "actor_id": str(ObjectId()),
        # As long as a sealed name and address, and a sealed change of a few fields.
        "who": f"hospital:{seq:0>120}",
        "details": f"subject:{seq:0>200}" if seq % 2 else "",
        "previous": previous,
    }
