"""How sessions are written: as JSON, in which an ObjectId is its hex digits.

django-allauth keeps primary keys in the session, and JSON knows no ObjectId.
"""

import json

from bson import ObjectId


def _hex_digits(value: object) -> str:
    if isinstance(value, ObjectId):
        return str(value)
    raise TypeError(f"A session can't keep a {type(value).__name__}.")


class SessionSerializer:
    def dumps(self, session: dict) -> bytes:
        return json.dumps(session, separators=(",", ":"), default=_hex_digits).encode("latin-1")

    def loads(self, written: bytes) -> dict:
        return json.loads(written.decode("latin-1"))
