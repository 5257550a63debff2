"""Check keys, lock them anew under another master key, and give hospitals new ones or none."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection

from accounts.keys.key_ring import HOSPITAL_KEYS, PLATFORM, PLATFORM_KEYS, owner_of
from accounts.keys.master import is_current, unwrap, wrap


@dataclass(frozen=True)
class KeysFound:
    """How many keys opened, are locked by an older master key, and are gone."""

    opened: int
    behind: int
    destroyed: int


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


def master_key_rotate() -> int:
    """Lock every key anew under the first master key; returns how many that were behind.

    Safe while people work, and to run again: each key is replaced only if it is still the one
    that was opened. Raises MasterKeyFault, with nothing lost, when one does not open.
    """
    return sum(_rewrap(key) for key in _wrapped_keys() if not is_current(key.wrapped))


def _rewrap(key: WrappedKey) -> int:
    anew = wrap(unwrap(key.wrapped, owner=key.owner), owner=key.owner)
    collection = connection.get_collection(key.collection)
    return collection.update_one(key.where, {"$set": {key.path: anew}}).modified_count


def _wrapped_keys() -> Iterator[WrappedKey]:
    for stored in connection.get_collection(PLATFORM_KEYS).find():
        where = {"_id": stored["_id"], "wrapped": stored["wrapped"]}
        yield WrappedKey(PLATFORM_KEYS, where, "wrapped", PLATFORM, stored["wrapped"])
    for stored in _hospital_keys().find({"destroyed_at": None}):
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
