"""How the trail keeps names and details: sealed, each text saying with whose key.

Which key that is stands in front of the text: the patient's own, the hospital's, or the platform's
where there is no hospital, or where its key was destroyed and the trail goes on all the same.
"""

import base64
import os

from bson import ObjectId
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from accounts.keys.errors import KeyDestroyed, SealBroken
from accounts.keys.sealing import UNREADABLE, platform_seal, platform_unseal, seal, unseal

NONCE_BYTES = 12
KEY_BYTES = 32
PURPOSE = "audit"
HOSPITAL, PLATFORM = "hospital:", "platform:"


def seal_for(hospital_id: ObjectId | None, text: str) -> str:
    """Seal words with the key of a hospital, or of the platform where there is none.

    Raises KeyDestroyed when the hospital's is gone.
    """
    if hospital_id is None:
        return PLATFORM + platform_seal(text, PURPOSE)
    return HOSPITAL + seal(text, hospital_id=hospital_id, purpose=PURPOSE)


def seal_anyway(hospital_id: ObjectId | None, text: str) -> str:
    """Seal words that must be kept even when the hospital's key is gone: never about a patient."""
    try:
        return seal_for(hospital_id, text)
    except KeyDestroyed:
        return seal_for(None, text)


def unseal_for(sealed: str) -> str:
    """Open what `seal_for` sealed; UNREADABLE when its key was destroyed or it was altered."""
    try:
        if sealed.startswith(PLATFORM):
            return platform_unseal(sealed.removeprefix(PLATFORM), PURPOSE)
        return unseal(sealed.removeprefix(HOSPITAL), purpose=PURPOSE)
    except SealBroken:
        return UNREADABLE


def sealed_with(key: bytes, text: str) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, text.encode(), None)).decode()


def opened_with(key: bytes, sealed: str) -> str:
    try:
        stored = base64.b64decode(sealed, validate=True)
        return AESGCM(key).decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], None).decode()
    except (ValueError, InvalidTag):
        return UNREADABLE
