"""Chains for tests: in memory, exactly as they lie in the database."""

import datetime as dt

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
    events, previous = [], NOTHING_BEFORE
    for seq in range(1, length + 1):
        event = _event(seq, hospital_id, previous)
        event["hash"] = previous = event_hash(event, key)
        events.append(event)
    head = {
        "_id": chain_name(hospital_id),
        "hospital_id": hospital_id,
        "seq": length,
        "hash": previous,
    }
    return events, {**head, "mac": head_mac(head, key)}


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
        "who": f"sealed {seq}",
        "details": f"sealed {seq}" if seq % 2 else "",
        "previous": previous,
    }
