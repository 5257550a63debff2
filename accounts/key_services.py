"""Rotate and destroy keys, each with its event in the audit trail."""

import time

from bson import ObjectId
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.chain import PLATFORM
from accounts.audit.services import audit_record, audited
from accounts.keys.key_ring import KEY_CACHE_S, forget_keys
from accounts.keys.resealing import records_reseal
from accounts.keys.services import (
    KeyState,
    key_destroy,
    key_resealed,
    key_state,
    key_version_add,
    keys_rewrap,
)
from accounts.models import Hospital
from drservice.common.errors import ServiceFault

# A request may have taken the older key just before it was forgotten, and write a little later.
SETTLED_AFTER_S = 2 * KEY_CACHE_S


class ResealingUnfinished(ServiceFault):
    """Some records are still sealed with an older key."""

    def __init__(self) -> None:
        super().__init__(
            "Some records could not be sealed anew; the log names them. They stay readable with "
            "the older key. Run the command again, and restore what is damaged from a backup."
        )


@audited
def master_key_rotate() -> int:
    """Lock every key under the first master key; returns how many were locked by another.

    All of them or none. Raises MasterKeyFault when one does not open.
    """
    locked = keys_rewrap()
    if locked:
        audit_record(
            action=Action.KEY_ROTATE,
            subject_kind="master_key",
            hospital_id=PLATFORM,
            after={"locked": locked},
        )
    return locked


def hospital_key_rotate(*, hospital: Hospital) -> KeyState:
    """Give a hospital a new data key, unless records still wait for the one before.

    Post-state: new records have the new key; `hospital_reseal` brings it to the others. Raises
    KeyDestroyed, KeyConflict.
    """
    state = key_state(hospital.pk)
    if state.all_resealed:
        state = _version_add(hospital.pk)
    forget_keys()
    return state


@audited
def _version_add(hospital_id: ObjectId) -> KeyState:
    before = key_state(hospital_id)
    state = key_version_add(hospital_id)
    audit_record(
        action=Action.KEY_ROTATE,
        subject_kind="hospital_key",
        subject_id=hospital_id,
        hospital_id=hospital_id,
        before={"version": before.version},
        after={"version": state.version},
    )
    return state


def hospital_reseal(*, hospital: Hospital) -> int:
    """Seal every record of a hospital with its newest key; returns how many needed it.

    Safe while people work, and to run again. Waits until no process can still have the older key,
    then looks once more. Raises KeyDestroyed, ResealingUnfinished.
    """
    state = key_state(hospital.pk)
    changed = records_reseal(hospital.pk, state.version).changed
    _wait_until_settled(state)
    while (again := records_reseal(hospital.pk, state.version)).changed:
        changed += again.changed
    if again.left:
        raise ResealingUnfinished
    key_resealed(hospital.pk, state.version)
    return changed


def _wait_until_settled(state: KeyState) -> None:
    passed_s = (timezone.now() - state.since).total_seconds()
    time.sleep(max(0.0, SETTLED_AFTER_S - passed_s))


def hospital_key_destroy(*, hospital: Hospital, reason: str) -> None:
    """Make what is sealed for a hospital unreadable for good. Raises KeyDestroyed when it is.

    The event stands in the hospital's chain, where its details are as unreadable as the rest, and
    in the platform's, where they stay.
    """
    _destroy(hospital.pk, reason)
    forget_keys()


@audited
def _destroy(hospital_id: ObjectId, reason: str) -> None:
    key_destroy(hospital_id)
    for chain in (hospital_id, PLATFORM):
        audit_record(
            action=Action.KEY_DESTROY,
            subject_kind="hospital_key",
            subject_id=hospital_id,
            hospital_id=chain,
            reason=reason,
        )
