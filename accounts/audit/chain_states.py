"""How long each chain is and when it last grew, for people who may not read it."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from bson import ObjectId
from django.db import connection

from accounts.audit.chain import event_name
from accounts.audit.models import AuditEvent, AuditHead
from accounts.scoping import every_hospital

STATES = "tells operators how long each audit chain is"


@dataclass(frozen=True)
class ChainState:
    events: int
    last_at: dt.datetime | None


def chain_states(owners: Iterable[ObjectId | None]) -> dict[ObjectId | None, ChainState]:
    """Return the state of the chains of some hospitals; None is the platform's own.

    Tells numbers and times. Whether a chain is whole is for `verify_audit` to say.
    """
    wanted = {"hospital_id": {"$in": list(owners)}}
    with every_hospital(STATES):
        heads = _collection(AuditHead).find(wanted, {"hospital_id": 1, "seq": 1})
        events = {head["hospital_id"]: head["seq"] for head in heads}
        names = [event_name(owner, seq) for owner, seq in events.items()]
        told = {"hospital_id": 1, "at": 1}
        last = _collection(AuditEvent).find({**wanted, "_id": {"$in": names}}, told)
        times = {event["hospital_id"]: event["at"].replace(tzinfo=dt.UTC) for event in last}
    return {owner: ChainState(seq, times.get(owner)) for owner, seq in events.items()}


def _collection(model: type):
    return connection.get_collection(model._meta.db_table)
