"""Write the audit trail: what is done without an event being kept is not done at all."""

import datetime as dt
import json
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from bson import ObjectId
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, connection
from django.utils import timezone
from pymongo.errors import PyMongoError

from accounts.audit import store
from accounts.audit.actions import Action
from accounts.audit.actors import Actor, current_actor
from accounts.audit.chain import (
    NOTHING_BEFORE,
    PLATFORM,
    Place,
    chain_name,
    event_hash,
    event_name,
    head_holds,
    head_mac,
)
from accounts.audit.errors import AuditUnavailable
from accounts.audit.models import AuditEvent
from accounts.audit.sealing import seal_anyway, seal_for
from accounts.audit.subject_keys import subject_seal
from accounts.audit.turns import turn, word_leave, word_left
from accounts.keys.errors import KeyDestroyed
from accounts.keys.sealing import audit_key
from accounts.scoping import ScopeError, current_scope
from drservice.common.transactions import in_one_transaction, may_try_again

Result = TypeVar("Result")

NOT_WRITTEN = "The audit trail can't be written just now, so nothing was changed or shown."
HEAD_ALTERED = "The audit trail's head was altered: run `manage.py verify_audit` for the hospital."
# How long an open page may look for news before its reader is kept as a viewer anew.
SEEN_FOR = dt.timedelta(hours=1)


def audit_record(
    *,
    action: Action,
    subject_kind: str,
    subject_id: object = "",
    hospital_id: ObjectId | str | None = None,
    patient_id: ObjectId | None = None,
    before: dict | None = None,
    after: dict | None = None,
    reason: str = "",
    actor: Actor | None = None,
) -> AuditEvent:
    """Append one event to a hospital's chain, as part of the open transaction if there is one.

    `hospital_id` None means the open scope's hospital, or else the platform's chain; PLATFORM
    means the latter in any case. Give `patient_id` wherever the record is about one patient: the
    details are then sealed with that patient's key. Of `before` and `after` only what differs is
    kept. Raises AuditUnavailable, and then nothing of the transaction may stand.
    """
    owner = _owner(hospital_id)
    if subject_kind == "patient" and patient_id is None:
        patient_id = ObjectId(str(subject_id))
    told = _told(before, after, reason)
    who = actor or current_actor()

    def append() -> AuditEvent:
        event = {
            "hospital_id": owner,
            "at": store.now_ms(),
            "action": str(Action(action)),
            "subject_kind": subject_kind,
            "subject_id": str(subject_id),
            "patient_id": patient_id,
            "actor_kind": str(who.kind),
            "actor_id": str(who.user_id or ""),
            "who": _sealed_actor(who, owner),
            "details": _sealed_details(told, owner, patient_id),
        }
        return _append(event)

    return _write(owner, append)


def audit_view(
    *,
    subject_kind: str,
    subject_id: object,
    patient_id: ObjectId | None = None,
    again: bool = False,
) -> None:
    """Keep that the actor is shown a record of the open scope; call it before showing anything.

    `again` is what an open page says when it only looks for news. It is not believed: the event is
    spared only while the trail has one of the same person and record that is younger than SEEN_FOR.
    Raises AuditUnavailable.
    """
    if again and _seen_lately(str(subject_id)):
        return
    audit_record(
        action=Action.VIEW, subject_kind=subject_kind, subject_id=subject_id, patient_id=patient_id
    )


def _seen_lately(subject_id: str) -> bool:
    views = AuditEvent.objects.filter(
        hospital_id=_owner_in_scope(), subject_id=subject_id, action=Action.VIEW
    )
    mine = views.filter(actor_id=str(current_actor().user_id or ""))
    return mine.filter(at__gt=timezone.now() - SEEN_FOR).exists()


def audited(service: Callable[..., Result]) -> Callable[..., Result]:
    """Run a change and the `audit_record` in it in one transaction: both stand, or neither.

    The service may run several times until it is committed: it reads what it decides by inside,
    and leaves files, messages and announcements to its caller.
    """

    @wraps(service)
    def with_its_event(*args, **kwargs) -> Result:
        return in_audited_transaction(lambda: service(*args, **kwargs))

    return with_its_event


def in_audited_transaction(act: Callable[[], Result]) -> Result:
    """Call `act` as `audited` would. Raises AuditUnavailable when others keep coming first."""
    return _in_turn(_owner_in_scope(), act)


def changes(before: dict, after: dict) -> tuple[dict, dict]:
    """Return what two states of a record differ in."""
    differing = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        {name: before[name] for name in differing if name in before},
        {name: after[name] for name in differing if name in after},
    )


def _write(owner: ObjectId | None, append: Callable[[], AuditEvent]) -> AuditEvent:
    try:
        return _in_turn(owner, append)
    except (DatabaseError, PyMongoError) as error:
        if not (connection.in_atomic_block_mongo and may_try_again(error)):
            raise AuditUnavailable(NOT_WRITTEN) from error
        # The transaction is the caller's, and so is beginning it again.
        if isinstance(error, DatabaseError):
            raise
        raise DatabaseError(NOT_WRITTEN) from error


def _in_turn(owner: ObjectId | None, act: Callable[[], Result]) -> Result:
    if connection.in_atomic_block_mongo:
        return act()
    try:
        with turn(chain_name(owner)):
            return in_one_transaction(act)
    except (DatabaseError, PyMongoError) as error:
        if may_try_again(error):
            raise AuditUnavailable(NOT_WRITTEN) from error
        raise


def _append(event: dict) -> AuditEvent:
    """Place an event behind the last one and move the head to it, within the open transaction."""
    key, chain = audit_key(), chain_name(event["hospital_id"])
    known = _known_head(event["hospital_id"], key)
    # The head first: of two at once one fails here, before it has written an event.
    if known is None or not _moved_from(known, event, key):
        head = store.head_read(event["hospital_id"])
        _place_behind(head, event, key)
        store.head_move(head_at(event, key))
    store.event_insert(event)
    word_leave(chain, str(Place(event["seq"], event["hash"])))
    return store.event_of(event)


def _known_head(hospital_id: ObjectId | None, key: bytes) -> dict | None:
    """Return the head as the turn before has left it; None when that left no word."""
    try:
        place = Place.read(word_left(chain_name(hospital_id)))
    except ValueError:
        return None
    last = {"hospital_id": hospital_id, "seq": place.seq, "hash": place.hash}
    return head_at(last, key)


def _moved_from(known: dict, event: dict, key: bytes) -> bool:
    """Spare the look at the head: move it from where it is known to be, if it is still there."""
    _place_behind(known, event, key)
    found = store.head_move_from(known, head_at(event, key))
    if found is None:
        return False
    _require_held(found, key)
    return True


def _place_behind(head: dict | None, event: dict, key: bytes) -> None:
    if head is not None:
        _require_held(head, key)
    event["seq"] = head["seq"] + 1 if head else 1
    event["previous"] = head["hash"] if head else NOTHING_BEFORE
    event["_id"] = event_name(event["hospital_id"], event["seq"])
    event["hash"] = event_hash(event, key)


def _require_held(head: dict, key: bytes) -> None:
    if not head_holds(head, key):
        raise AuditUnavailable(HEAD_ALTERED)


def head_at(event: dict, key: bytes) -> dict:
    """Return the head of a chain that ends with this event."""
    head = {
        "_id": chain_name(event["hospital_id"]),
        "hospital_id": event["hospital_id"],
        "seq": event["seq"],
        "hash": event["hash"],
    }
    return {**head, "mac": head_mac(head, key)}


def _owner(hospital_id: ObjectId | str | None) -> ObjectId | None:
    if hospital_id == PLATFORM:
        return None
    return _owner_in_scope() if hospital_id is None else ObjectId(str(hospital_id))


def _owner_in_scope() -> ObjectId | None:
    try:
        return current_scope("An event").hospital_id
    except ScopeError:
        return None


def _told(before: dict | None, after: dict | None, reason: str) -> dict:
    if before is not None and after is not None:
        before, after = changes(before, after)
    told = {"before": before, "after": after, "reason": reason}
    return {name: value for name, value in told.items() if value}


def _sealed_actor(actor: Actor, owner: ObjectId | None) -> str:
    known = {"name": actor.name, "address": actor.address}
    known = {name: value for name, value in known.items() if value}
    return seal_anyway(owner, _text(known)) if known else ""


def _sealed_details(told: dict, owner: ObjectId | None, patient_id: ObjectId | None) -> str:
    if not told:
        return ""
    sealed = _sealed_text(_text(told), owner, patient_id)
    if sealed is not None:
        return sealed
    # The patient was erased, or the hospital's key destroyed. Why something was done may stay.
    reason = told.get("reason")
    return seal_anyway(owner, _text({"reason": reason})) if reason else ""


def _sealed_text(text: str, owner: ObjectId | None, patient_id: ObjectId | None) -> str | None:
    if patient_id is not None and owner is not None:
        return subject_seal(text, patient_id=patient_id, hospital_id=owner)
    try:
        return seal_for(owner, text)
    except KeyDestroyed:
        return None


def _text(words: dict) -> str:
    return json.dumps(words, cls=_Encoder, separators=(",", ":"))


class _Encoder(DjangoJSONEncoder):
    def default(self, value: object):
        return str(value) if isinstance(value, ObjectId) else super().default(value)
