"""Seal what names a person, and unseal it: AES-256-GCM with random nonces.

A sealed value describes itself: format byte, hospital (12 bytes; zeros for the platform), key
version (2), nonce (12), ciphertext with its tag; as text, the same in base64url. The head and the
purpose are authenticated, so that a value opens only with the key and for the purpose that it was
sealed for.

A key that has been destroyed stops working in every process within KEY_CACHE_S seconds: see
`accounts.keys.key_ring`. From then on `unseal` returns UNREADABLE, and sealing raises KeyDestroyed.
"""

import base64
import binascii
import hmac
import os
import struct
from collections.abc import Iterable

from bson import ObjectId
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from accounts.keys.errors import KeyDestroyed, SealBroken, UnreadableRefused
from accounts.keys.key_ring import platform_ring, sealing_ring, unsealing_cipher
from accounts.keys.master import NONCE_BYTES
from accounts.scoping import ScopeError, open_scope

UNREADABLE = "(unreadable)"

FORMAT = 1
PLATFORM_ID = ObjectId(bytes(12))
PLATFORM_VERSION = 1
HEAD = struct.Struct(">B12sH")
HASH_BYTES = 16


def sealing_check(hospital_id: ObjectId) -> None:
    """Raise KeyDestroyed when nothing can be sealed for a hospital any more."""
    sealing_ring(hospital_id)


def seal(text: str, *, hospital_id: ObjectId, purpose: str = "") -> str:
    """Return a text sealed with the hospital's current key. Raises KeyDestroyed."""
    return _as_text(seal_bytes(text.encode(), hospital_id=hospital_id, purpose=purpose))


def unseal(sealed: str, *, purpose: str = "") -> str:
    """Return what was sealed, or UNREADABLE when the hospital's key has been destroyed.

    Raises SealBroken for anything that is not what `seal` returned for this purpose, ScopeError
    when another hospital's scope is open, MasterKeyFault when the master key set is a wrong one.
    """
    try:
        return unseal_bytes(_as_bytes(sealed), purpose=purpose).decode()
    except KeyDestroyed:
        return UNREADABLE


def seal_bytes(secret: bytes, *, hospital_id: ObjectId, purpose: str = "") -> bytes:
    """Return bytes sealed with the hospital's current key. Raises KeyDestroyed."""
    ring = sealing_ring(hospital_id)
    if secret == UNREADABLE.encode():
        raise UnreadableRefused
    head = HEAD.pack(FORMAT, hospital_id.binary, ring.version)
    return _encrypted(ring.ciphers[ring.version], head, secret, purpose)


def unseal_bytes(sealed: bytes, *, purpose: str = "") -> bytes:
    """Return what `seal_bytes` was given. Raises KeyDestroyed, SealBroken, ScopeError."""
    hospital_id, version = sealed_with(sealed)
    scope = open_scope()
    if scope is not None and not scope.holds(hospital_id):
        raise ScopeError("A sealed value of another hospital")
    return _decrypted(unsealing_cipher(hospital_id, version), sealed, purpose)


def sealed_with(sealed: bytes) -> tuple[ObjectId, int]:
    """Return the hospital and the key version of a sealed value. Raises SealBroken."""
    if len(sealed) < HEAD.size + NONCE_BYTES or sealed[0] != FORMAT:
        raise SealBroken
    _, hospital_id, version = HEAD.unpack_from(sealed)
    return ObjectId(hospital_id), version


def keyed_hash(text: str, *, hospital_id: ObjectId, purpose: str) -> str:
    """Return a hash that only the hospital's index key gives: equal for equal texts. 22 letters.

    The index key stays the same when data keys are rotated. Raises KeyDestroyed.
    """
    return keyed_hashes([text], hospital_id=hospital_id, purpose=purpose)[0]


def keyed_hashes(texts: Iterable[str], *, hospital_id: ObjectId, purpose: str) -> list[str]:
    """Return the keyed hash of each text. Raises KeyDestroyed."""
    index_key = sealing_ring(hospital_id).index_key
    return [_hash(index_key, text, purpose) for text in texts]


def platform_seal(text: str, purpose: str = "") -> str:
    """Return a text sealed for the platform: what belongs to a person, and to no hospital."""
    head = HEAD.pack(FORMAT, PLATFORM_ID.binary, PLATFORM_VERSION)
    return _as_text(_encrypted(platform_ring().cipher, head, text.encode(), purpose))


def platform_unseal(sealed: str, purpose: str = "") -> str:
    """Return what `platform_seal` was given. Raises SealBroken."""
    found = _as_bytes(sealed)
    if sealed_with(found) != (PLATFORM_ID, PLATFORM_VERSION):
        raise SealBroken
    return _decrypted(platform_ring().cipher, found, purpose).decode()


def platform_hash(text: str, purpose: str) -> str:
    """Return a hash of a text that only this platform's key gives. 22 letters."""
    return _hash(platform_ring().hash_key, text, purpose)


def audit_key() -> bytes:
    """Return the key of the audit's hash chains: no hospital's, so that it outlives theirs."""
    return platform_ring().audit_key


def _encrypted(cipher: AESGCM, head: bytes, secret: bytes, purpose: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return head + nonce + cipher.encrypt(nonce, secret, head + purpose.encode())


def _decrypted(cipher: AESGCM, sealed: bytes, purpose: str) -> bytes:
    head, rest = sealed[: HEAD.size], sealed[HEAD.size :]
    try:
        return cipher.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], head + purpose.encode())
    except InvalidTag as error:
        raise SealBroken from error


def _hash(key: bytes, text: str, purpose: str) -> str:
    message = purpose.encode() + b"\0" + text.encode()
    return _as_text(hmac.digest(key, message, "sha256")[:HASH_BYTES])


def _as_text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _as_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealBroken from error
