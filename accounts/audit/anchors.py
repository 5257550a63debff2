"""Heads of hospitals' chains, noted on the platform's chain every hour.

Whoever cuts a chain off and puts its old head back must then do the same to the platform's chain,
where the notes of all hospitals lie. So most such cuts are found without a head that was kept
outside the database; one kept outside still proves more.
"""

import json

from bson import ObjectId

from accounts.audit import store
from accounts.audit.actions import Action
from accounts.audit.chain import PLATFORM, Place
from accounts.audit.sealing import unseal_for
from accounts.audit.services import audit_record
from accounts.audit.verification import head_place
from accounts.keys.sealing import UNREADABLE


def heads_anchor() -> int:
    """Note where each hospital's chain ends, where that has changed. Returns how many have."""
    return sum(_anchor(owner) for owner in store.chains() if owner is not None)


def anchors_of(hospital_id: ObjectId, *, after: int = 0) -> list[Place]:
    """Return the places of a chain that were noted, above a number."""
    places = [_place(event) for event in store.anchor_events(hospital_id)]
    return [place for place in places if place is not None and place.seq > after]


def _anchor(hospital_id: ObjectId) -> bool:
    place = head_place(hospital_id)
    last = store.anchor_last(hospital_id)
    if place is None or (last is not None and _place(last) == place):
        return False
    audit_record(
        action=Action.ANCHOR,
        subject_kind="audit",
        subject_id=hospital_id,
        hospital_id=PLATFORM,
        after={"head": str(place)},
    )
    return True


def _place(note: dict) -> Place | None:
    """Return what a note says; None when it was altered, which the platform's own chain shows."""
    details = unseal_for(str(note["details"]))
    return None if details == UNREADABLE else Place.read(json.loads(details)["after"]["head"])
