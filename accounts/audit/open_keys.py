"""Patients' audit keys that are open in this process, for a few seconds each.

What is written about one patient comes in bursts: photographs, their labels, the submission. So a
key that a committed transaction has read or made is kept for KEY_CACHE_S seconds from when it was
read, as hospitals' keys are (`accounts.keys.key_ring`), and the next event asks for no key.

A key is kept only once the transaction that read it is committed: it may have made the key itself,
and what is sealed with a key that was rolled back can never be opened. A key that is about to be
destroyed is not kept in this process at all, from the moment its destruction begins. Other
processes may go on sealing with it until its seconds are over; nobody can read that again, as the
key in the database is gone at once.
"""

import threading
import time

from bson import ObjectId

from accounts.keys.key_ring import KEY_CACHE_S

# Longer than MongoDB lets any transaction live: by then the destruction stands, or was undone.
DESTRUCTION_S = 120.0

_open: dict[ObjectId, tuple[float, bytes]] = {}
_in_destruction: dict[ObjectId, float] = {}
_lock = threading.Lock()


def key_open(patient_id: ObjectId) -> bytes | None:
    """Return a patient's key when it is open here, else None."""
    until, material = _open.get(patient_id, (0.0, b""))
    return material if time.monotonic() < until else None


def key_keep(patient_id: ObjectId, material: bytes, read_at: float) -> None:
    """Keep a committed key that was read at `read_at` (monotonic), unless it is to be destroyed."""
    with _lock:
        _forget_what_is_over()
        if patient_id not in _in_destruction:
            _open[patient_id] = (read_at + KEY_CACHE_S, material)


def key_destruction_begins(patient_id: ObjectId) -> None:
    """Drop a key, and keep none of this patient until the transaction that destroys it is over."""
    with _lock:
        _forget_what_is_over()
        _in_destruction[patient_id] = time.monotonic() + DESTRUCTION_S
        _open.pop(patient_id, None)


def forget_open_keys() -> None:
    """Drop every open key of this process; the next event reads its patient's again."""
    with _lock:
        _open.clear()
        _in_destruction.clear()


def _forget_what_is_over() -> None:
    now = time.monotonic()
    for patient_id in [one for one, (until, _) in _open.items() if until <= now]:
        del _open[patient_id]
    for patient_id in [one for one, until in _in_destruction.items() if until <= now]:
        del _in_destruction[patient_id]
