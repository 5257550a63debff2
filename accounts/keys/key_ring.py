"""The keys that are open in this process, for a few seconds each.

A destroyed key must stop working everywhere, in every web process and worker, without anybody
telling them. So an unwrapped key is kept for KEY_CACHE_S seconds at most; then the next use reads
the hospital's document again and finds it destroyed, rotated, or as it was. Until then, sealing a
field of a list of cases costs no query for each.

Keys are read and made outside any open transaction, and a new one is on the disks of a majority
before it seals anything: a transaction that is rolled back must not take a key along that some
record is sealed with.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bson import ObjectId
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import connection
from django.utils import timezone
from pymongo.errors import DuplicateKeyError

from accounts.keys.errors import KeyDestroyed
from accounts.keys.master import KEY_BYTES, derive, unwrap, wrap

KEY_CACHE_S = 5.0
FIRST_VERSION = 1
PLATFORM = "platform"
HOSPITAL_KEYS = "keys_hospitalkey"
PLATFORM_KEYS = "keys_platformkey"


@dataclass(frozen=True)
class HospitalRing:
    """The open keys of one hospital; none when they are destroyed."""

    ciphers: dict[int, AESGCM]
    index_key: bytes

    @property
    def version(self) -> int:
        """The version that seals."""
        return max(self.ciphers)


NO_KEYS = HospitalRing({}, b"")


@dataclass(frozen=True)
class PlatformRing:
    cipher: AESGCM
    hash_key: bytes
    audit_key: bytes


_open: dict[ObjectId | str, tuple[float, HospitalRing | PlatformRing]] = {}
_lock = threading.Lock()


def sealing_ring(hospital_id: ObjectId) -> HospitalRing:
    """Return a hospital's open keys, making its first ones when it has none yet.

    Raises KeyDestroyed, or MasterKeyFault when the master key that is set does not open them.
    """
    if not isinstance(hospital_id, ObjectId):
        raise TypeError(f"A key belongs to a hospital's ObjectId, not {hospital_id!r}.")
    ring = _kept(hospital_id, lambda: _hospital_ring(hospital_key_document(hospital_id)))
    if not ring.ciphers:
        raise KeyDestroyed
    return ring


def unsealing_cipher(hospital_id: ObjectId, version: int) -> AESGCM:
    """Return the key that something was sealed with, and never make one.

    Raises KeyDestroyed when it is gone or was never here, MasterKeyFault when it does not open.
    """
    ring = _kept(hospital_id, lambda: _hospital_ring(_stored(hospital_id)))
    cipher = ring.ciphers.get(version)
    if cipher is None:
        raise KeyDestroyed
    return cipher


def platform_ring() -> PlatformRing:
    """Return the platform's open keys, making them when there are none yet."""
    return _kept(PLATFORM, lambda: _platform_ring(_platform_document()))


def forget_keys() -> None:
    """Drop every open key of this process; the next use reads them again."""
    with _lock:
        _open.clear()


def owner_of(hospital_id: ObjectId, version: int) -> str:
    """Return what a hospital's wrapped key is bound to: it opens in no other's place."""
    return f"hospital {hospital_id}, version {version}"


def new_version(hospital_id: ObjectId, number: int, index_key: bytes) -> dict:
    """Return the stored form of a key version with a new random data key."""
    wrapped = wrap(os.urandom(KEY_BYTES) + index_key, owner=owner_of(hospital_id, number))
    return {"number": number, "wrapped": wrapped, "created_at": timezone.now()}


def _kept(name, load: Callable):
    until, ring = _open.get(name, (0.0, None))
    if time.monotonic() < until:
        return ring
    began = time.monotonic()
    ring = load()
    with _lock:
        for one in [one for one, (until, _) in _open.items() if until <= began]:
            del _open[one]
        # No key stands for a hospital that has none yet: the next use may make it.
        if ring is not NO_KEYS:
            _open[name] = (began + KEY_CACHE_S, ring)
    return ring


def _hospital_ring(document: dict | None) -> HospitalRing:
    if document is None:
        return NO_KEYS
    if document["destroyed_at"] is not None:
        return HospitalRing({}, b"")
    opened = {one["number"]: _opened(document, one) for one in document["versions"]}
    ciphers = {number: AESGCM(keys[:KEY_BYTES]) for number, keys in opened.items()}
    return HospitalRing(ciphers, index_key_of(document))


def index_key_of(document: dict) -> bytes:
    """Return the index key, which is the same in every version."""
    return _opened(document, document["versions"][-1])[KEY_BYTES:]


def _opened(document: dict, version: dict) -> bytes:
    return unwrap(version["wrapped"], owner=owner_of(document["hospital_id"], version["number"]))


def _stored(hospital_id: ObjectId) -> dict | None:
    return connection.get_collection(HOSPITAL_KEYS).find_one({"hospital_id": hospital_id})


def hospital_key_document(hospital_id: ObjectId) -> dict:
    """Return a hospital's keys as they rest, making its first ones when it has none yet."""
    keys = connection.get_collection(HOSPITAL_KEYS)
    return _stored(hospital_id) or _made(
        keys, {"hospital_id": hospital_id}, _first_hospital_key(hospital_id)
    )


def _first_hospital_key(hospital_id: ObjectId) -> dict:
    return {
        "versions": [new_version(hospital_id, FIRST_VERSION, os.urandom(KEY_BYTES))],
        "resealed_version": FIRST_VERSION,
        "created_at": timezone.now(),
        "destroyed_at": None,
    }


def _platform_ring(document: dict) -> PlatformRing:
    root = unwrap(document["wrapped"], owner=PLATFORM)
    return PlatformRing(
        cipher=AESGCM(derive(root, "platform sealing")),
        hash_key=derive(root, "platform hashing"),
        audit_key=derive(root, "audit"),
    )


def _platform_document() -> dict:
    keys = connection.get_collection(PLATFORM_KEYS)
    where = {"_id": PLATFORM}
    return keys.find_one(where) or _made(
        keys,
        where,
        {"wrapped": wrap(os.urandom(KEY_BYTES), owner=PLATFORM), "created_at": timezone.now()},
    )


def _made(keys, where: dict, document: dict) -> dict:
    """Insert a document unless somebody else was quicker, and return the one that is there."""
    with contextlib.suppress(DuplicateKeyError):
        keys.update_one(where, {"$setOnInsert": document}, upsert=True)
    return keys.find_one(where)
