"""Wrap keys under the master key, and unwrap them under any that is still listed.

`settings.MASTER_KEYS` holds the texts of MASTER_KEY: the first wraps, all of them unwrap. A wrapped
key is: format byte, fingerprint of its master key (8), nonce (12), ciphertext with its tag. The
fingerprint says which master key is missing, and nothing about the key itself.
"""

import os
from dataclasses import dataclass
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from accounts.keys.errors import MasterKeyFault

FORMAT = b"\x01"
FINGERPRINT_BYTES = 8
NONCE_BYTES = 12
KEY_BYTES = 32

NOT_SET = (
    "No master key is set. Set MASTER_KEY, or MASTER_KEY_FILE to a file that holds it; "
    "docs/keys.md says how to make one and why to keep a copy elsewhere."
)


@dataclass(frozen=True)
class MasterKey:
    fingerprint: bytes
    cipher: AESGCM


def derive(secret: bytes, purpose: str, size: int = KEY_BYTES) -> bytes:
    """Return a key for one purpose by HKDF-SHA256; other purposes learn nothing from it."""
    info = f"drservice {purpose} v1".encode()
    return HKDF(algorithm=SHA256(), length=size, salt=None, info=info).derive(secret)


@cache
def _master_key(text: str) -> MasterKey:
    secret = text.encode()
    return MasterKey(
        fingerprint=derive(secret, "master key fingerprint", FINGERPRINT_BYTES),
        cipher=AESGCM(derive(secret, "key wrapping")),
    )


def master_keys() -> list[MasterKey]:
    """Return the listed master keys, the current one first. Raises MasterKeyFault for none."""
    if not settings.MASTER_KEYS:
        raise MasterKeyFault(NOT_SET)
    return [_master_key(text) for text in settings.MASTER_KEYS]


def wrap(secret: bytes, *, owner: str) -> bytes:
    """Encrypt a key under the current master key; it opens only for the same `owner`."""
    master = master_keys()[0]
    nonce = os.urandom(NONCE_BYTES)
    head = FORMAT + master.fingerprint
    return head + nonce + master.cipher.encrypt(nonce, secret, _bound(head, owner))


def unwrap(wrapped: bytes, *, owner: str) -> bytes:
    """Decrypt a wrapped key. Raises MasterKeyFault when no listed master key opens it."""
    head, rest = wrapped[: len(FORMAT) + FINGERPRINT_BYTES], wrapped[len(FORMAT) :]
    fingerprint, rest = rest[:FINGERPRINT_BYTES], rest[FINGERPRINT_BYTES:]
    for master in master_keys():
        if master.fingerprint == fingerprint:
            return _opened(master, head, rest, owner)
    raise MasterKeyFault(
        f"The key of the {owner} was locked by the master key with the fingerprint "
        f"{fingerprint.hex()}, which is not among those set ({_fingerprints()}). Add that one to "
        "MASTER_KEY, after a comma; docs/keys.md says more."
    )


def is_current(wrapped: bytes) -> bool:
    """Tell whether a key is wrapped by the first of the listed master keys."""
    return wrapped.startswith(FORMAT + master_keys()[0].fingerprint)


def _opened(master: MasterKey, head: bytes, rest: bytes, owner: str) -> bytes:
    nonce, encrypted = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
    try:
        return master.cipher.decrypt(nonce, encrypted, _bound(head, owner))
    except InvalidTag as error:
        raise MasterKeyFault(
            f"The key of the {owner} is damaged: the master key fits, and what it opens does not. "
            "Restore the keys from a backup of the database."
        ) from error


def _bound(head: bytes, owner: str) -> bytes:
    return head + owner.encode()


def current_fingerprint() -> str:
    """Return what tells the first master key from others, and says nothing else of it."""
    return master_keys()[0].fingerprint.hex()


def _fingerprints() -> str:
    return ", ".join(master.fingerprint.hex() for master in master_keys())
