"""Where events and heads are written and read, document by document, inside the open transaction.

The only code that writes to the trail. The models refuse it, so it goes below them.
"""

import datetime as dt
from collections.abc import Iterator

from bson import CodecOptions, ObjectId
from bson.codec_options import DatetimeConversion
from django.db import connection
from pymongo import ASCENDING, DESCENDING

from accounts.audit.actions import Action
from accounts.audit.chain import EVENT_FIELDS, chain_name
from accounts.audit.models import AuditEvent, AuditHead
from accounts.scoping import current_scope, every_hospital

# A date that was altered beyond the calendar must be found, not crash the search.
_ANY_DATE = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
BATCH = 2000
CHAINS = "finds the owner of every audit chain"


def event_insert(event: dict) -> None:
    _events().insert_one(event, session=connection.session)


def head_read(hospital_id: ObjectId | None) -> dict | None:
    return _heads().find_one(_place(hospital_id), session=connection.session)


def head_move(head: dict) -> None:
    """Put the head of a chain where the last event is, making it with the first one."""
    _heads().replace_one(_place(head["hospital_id"]), head, upsert=True, session=connection.session)


def head_move_from(known: dict, head: dict) -> dict | None:
    """Move a head that is exactly as known, and return it as it was; None when it isn't."""
    return _heads().find_one_and_replace(known, head, session=connection.session)


def events_in_order(hospital_id: ObjectId | None, *, after: int = 0) -> Iterator[dict]:
    """Read a chain, oldest first, a batch at a time; whole, or what follows a number."""
    # Whole without a condition: a number that was made into something else must be found too.
    behind = {"seq": {"$gt": after}} if after else {}
    found = _events().find({"hospital_id": hospital_id, **behind}, session=connection.session)
    return found.sort("seq", ASCENDING).batch_size(BATCH)


def event_last(hospital_id: ObjectId | None) -> dict | None:
    """Return the event with the highest number, whatever the head says."""
    return _events().find_one({"hospital_id": hospital_id}, sort=[("seq", DESCENDING)])


def events_newest(hospital_id: ObjectId, where: dict, *, below: int | None, count: int):
    """Return events of the open scope's hospital that match, newest first, as `AuditEvent`s.

    Only those with a number smaller than `below`, if given. A plain find walks an index and stops;
    the backend's queryset would sort the whole chain for every page.
    """
    smaller = {} if below is None else {"seq": {"$lt": below}}
    place = current_scope("AuditEvent").narrow({"hospital_id": hospital_id})
    found = _events().find({**where, **smaller, **place}).sort("seq", DESCENDING).limit(count)
    return [event_of(document) for document in found]


def events_oldest(
    hospital_id: ObjectId, where: dict, *, between: tuple[int, int], count: int
) -> list:
    """Return events that match, oldest first: numbers above the first, up to the second."""
    above, up_to = between
    place = current_scope("AuditEvent").narrow({"hospital_id": hospital_id})
    within = {"seq": {"$gt": above, "$lte": up_to}}
    found = _events().find({**where, **within, **place}).sort("seq", ASCENDING).limit(count)
    return [event_of(document) for document in found]


def event_of(document: dict) -> AuditEvent:
    """Return a stored document as a model, whose time knows that it is in UTC."""
    known = {"id" if name == "_id" else name: document.get(name) for name in EVENT_FIELDS}
    at = document.get("at")
    aware = at.replace(tzinfo=dt.UTC) if isinstance(at, dt.datetime) else None
    return AuditEvent(**{**known, "at": aware})


def anchor_events(hospital_id: ObjectId) -> Iterator[dict]:
    """Return the platform's notes of where a hospital's chain ended."""
    return _events().find(_anchors(hospital_id), session=connection.session)


def anchor_last(hospital_id: ObjectId) -> dict | None:
    return _events().find_one(_anchors(hospital_id), sort=[("seq", DESCENDING)])


def _anchors(hospital_id: ObjectId) -> dict:
    return {"hospital_id": None, "subject_id": str(hospital_id), "action": Action.ANCHOR.value}


def chains() -> list[ObjectId | None]:
    """Return the owner of every chain that has an event or a head; None is the platform."""
    with every_hospital(CHAINS):
        owners = {*_events().distinct("hospital_id"), *_heads().distinct("hospital_id")}
    return sorted(owners, key=lambda owner: (owner is not None, str(owner)))


def now_ms() -> dt.datetime:
    """Return the time as the database keeps it: naive, in UTC, to the millisecond."""
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _place(hospital_id: ObjectId | None) -> dict:
    return {"_id": chain_name(hospital_id), "hospital_id": hospital_id}


def _events():
    name = AuditEvent._meta.db_table
    return connection.get_collection(name).with_options(codec_options=_ANY_DATE)


def _heads():
    return connection.get_collection(AuditHead._meta.db_table)
