"""Check keys, lock them anew under another master key, and give hospitals new ones or none.

Each change joins the open transaction, so that its event in the audit trail stands or falls with
it; `accounts.key_services` writes those. Processes notice within KEY_CACHE_S seconds.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from bson import ObjectId
from django.db import connection
from django.utils import timezone

from accounts.keys.errors import KeyConflict, KeyDestroyed
from accounts.keys.key_ring import (
    HOSPITAL_KEYS,
    PLATFORM,
    PLATFORM_KEYS,
    hospital_key_document,
    index_key_of,
    new_version,
    owner_of,
)
from accounts.keys.master import is_current, master_keys, unwrap, wrap


@dataclass(frozen=True)
class KeysFound:
    """How many keys opened, are locked by an older master key, and are gone."""

    opened: int
    behind: int
    destroyed: int


@dataclass(frozen=True)
class KeyState:
    """Which version of a hospital's key seals, since when, and whether all records have it."""

    version: int
    since: dt.datetime
    all_resealed: bool


@dataclass(frozen=True)
class WrappedKey:
    """One wrapped key at rest: what it is bound to, and how to find it again."""

    collection: str
    where: dict
    path: str
    owner: str
    wrapped: bytes


def keys_check() -> KeysFound:
    """Open every key at rest. Raises MasterKeyFault for the first that does not open."""
    found = list(_wrapped_keys())
    for key in found:
        unwrap(key.wrapped, owner=key.owner)
    return KeysFound(
        opened=len(found),
        behind=sum(not is_current(key.wrapped) for key in found),
        destroyed=_hospital_keys().count_documents({"destroyed_at": {"$ne": None}}),
    )


def platform_key_check() -> None:
    """Open the platform's key, if there is one yet. Raises MasterKeyFault."""
    master_keys()
    stored = connection.get_collection(PLATFORM_KEYS).find_one({"_id": PLATFORM})
    if stored is not None:
        unwrap(stored["wrapped"], owner=PLATFORM)


def keys_rewrap() -> int:
    """Lock every key anew under the first master key; returns how many were behind.

    Safe while people work, and to run again: each key is replaced only if it is still the one
    that was opened. Raises MasterKeyFault, with nothing lost, when one does not open.
    """
    return sum(_rewrap(key) for key in _wrapped_keys() if not is_current(key.wrapped))


def key_state(hospital_id: ObjectId) -> KeyState:
    """Return how it stands with a hospital's key, which is made if need be. Raises KeyDestroyed."""
    return _state(hospital_key_document(hospital_id))


def key_version_add(hospital_id: ObjectId) -> KeyState:
    """Give a hospital a new data key, with which everything is sealed from now on.

    What was sealed with the versions before stays readable, and the index key stays the same.
    Raises KeyDestroyed; KeyConflict when somebody else is doing the same.
    """
    document = hospital_key_document(hospital_id)
    number = _state(document).version + 1
    added = new_version(hospital_id, number, index_key_of(document))
    unchanged = {
        "hospital_id": hospital_id,
        "destroyed_at": None,
        "versions": {"$size": len(document["versions"])},
    }
    done = _hospital_keys().update_one(
        unchanged, {"$push": {"versions": added}}, session=connection.session
    )
    if not done.modified_count:
        raise KeyConflict
    return KeyState(number, added["created_at"], all_resealed=False)


def key_resealed(hospital_id: ObjectId, version: int) -> None:
    """Remember that every record of a hospital is sealed with this version."""
    _hospital_keys().update_one(
        {"hospital_id": hospital_id}, {"$max": {"resealed_version": version}}
    )


def key_destroy(hospital_id: ObjectId) -> None:
    """Destroy every version of a hospital's key, for good. Raises KeyDestroyed when they are gone.

    Post-state: its document stays, without a key and with the time; no new key is made.
    """
    hospital_key_document(hospital_id)
    gone = {"versions.$[].wrapped": b"", "destroyed_at": timezone.now()}
    alive = {"hospital_id": hospital_id, "destroyed_at": None}
    if (
        not _hospital_keys()
        .update_one(alive, {"$set": gone}, session=connection.session)
        .modified_count
    ):
        raise KeyDestroyed


def _state(document: dict) -> KeyState:
    if document["destroyed_at"] is not None:
        raise KeyDestroyed
    last = document["versions"][-1]
    return KeyState(
        version=last["number"],
        since=last["created_at"].replace(tzinfo=dt.UTC),
        all_resealed=document["resealed_version"] == last["number"],
    )


def _rewrap(key: WrappedKey) -> int:
    anew = wrap(unwrap(key.wrapped, owner=key.owner), owner=key.owner)
    update = {"$set": {key.path: anew}}
    collection = connection.get_collection(key.collection)
    return collection.update_one(key.where, update, session=connection.session).modified_count


def _wrapped_keys() -> Iterator[WrappedKey]:
    for stored in connection.get_collection(PLATFORM_KEYS).find(session=connection.session):
        where = {"_id": stored["_id"], "wrapped": stored["wrapped"]}
        yield WrappedKey(PLATFORM_KEYS, where, "wrapped", PLATFORM, stored["wrapped"])
    for stored in _hospital_keys().find({"destroyed_at": None}, session=connection.session):
        yield from _versions_of(stored)


def _versions_of(stored: dict) -> Iterator[WrappedKey]:
    for version in stored["versions"]:
        number, wrapped = version["number"], version["wrapped"]
        yield WrappedKey(
            HOSPITAL_KEYS,
            {
                "_id": stored["_id"],
                "versions": {"$elemMatch": {"number": number, "wrapped": wrapped}},
            },
            "versions.$.wrapped",
            owner_of(stored["hospital_id"], number),
            wrapped,
        )


def _hospital_keys():
    return connection.get_collection(HOSPITAL_KEYS)
