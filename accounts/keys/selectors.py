"""What may be said of hospitals' keys: how many, how old, and whether they are gone. No key."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from bson import ObjectId
from django.db import connection

from accounts.keys.key_ring import HOSPITAL_KEYS

# The wrapped keys themselves are not even read.
_TOLD = {
    "hospital_id": 1,
    "versions.number": 1,
    "versions.created_at": 1,
    "resealed_version": 1,
    "destroyed_at": 1,
}


@dataclass(frozen=True)
class KeyState:
    """`version` seals since `since`; `is_resealing` while older records are still sealed anew."""

    version: int
    since: dt.datetime | None
    is_resealing: bool
    destroyed_at: dt.datetime | None


def key_states(hospital_pks: Iterable[ObjectId]) -> dict[ObjectId, KeyState]:
    """Return the state of each hospital's key; one that has sealed nothing yet has none."""
    wanted = {"hospital_id": {"$in": list(hospital_pks)}}
    found = connection.get_collection(HOSPITAL_KEYS).find(wanted, _TOLD)
    return {stored["hospital_id"]: _state(stored) for stored in found}


def _state(stored: dict) -> KeyState:
    last = max(stored["versions"], key=lambda one: one["number"], default={})
    version = last.get("number", 0)
    return KeyState(
        version=version,
        since=_aware(last.get("created_at")),
        is_resealing=stored["resealed_version"] < version,
        destroyed_at=_aware(stored["destroyed_at"]),
    )


def _aware(stored: dt.datetime | None) -> dt.datetime | None:
    return stored and stored.replace(tzinfo=dt.UTC)
