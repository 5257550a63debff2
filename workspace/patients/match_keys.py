"""The keyed hashes by which records of one person are found without reading their names.

Each is made under the hospital's index key, so that a copy of the database tells at most that two
records of one hospital share a name or a number, and never which.
"""

from accounts.keys.sealing import keyed_hash
from workspace.models import Patient
from workspace.patients.likeness import identity_of, likeness_texts


def match_keys_of(patient: Patient) -> list[str]:
    """Return a record's keys, each with its kind before it: `phone:…`. Raises KeyDestroyed."""
    texts = likeness_texts(identity_of(patient))
    return [match_key(patient.hospital_id, kind, text) for kind, text in texts.items()]


def match_key(hospital_id, kind: str, text: str) -> str:
    hashed = keyed_hash(text, hospital_id=hospital_id, purpose=f"patient match {kind}")
    return f"{kind}:{hashed}"
