"""Verify chains as they lie in the database, also while they grow, and mend a lost head."""

from collections.abc import Iterable, Iterator

from bson import ObjectId

from accounts.audit import store
from accounts.audit.actions import Action
from accounts.audit.chain import (
    BEGINNING,
    PLATFORM,
    Fault,
    Place,
    Verdict,
    chain_verify,
    head_holds,
)
from accounts.audit.services import audit_record, head_at
from accounts.keys.sealing import audit_key
from drservice.common.errors import ServiceFault
from drservice.common.transactions import transactional


class HeadHolds(ServiceFault):
    """There is nothing to mend."""


def chain_check(
    hospital_id: ObjectId | None, *, kept: Iterable[str] = (), since: Place = BEGINNING
) -> Verdict:
    """Verify a hospital's chain, or the platform's (None), from its beginning or `since`."""
    growing = _GrowingChain(hospital_id, since.seq)
    return chain_verify(
        growing.events(),
        lambda: growing.head,
        hospital_id=hospital_id,
        key=audit_key(),
        kept=kept,
        since=since,
    )


def head_place(hospital_id: ObjectId | None) -> Place | None:
    """Return where a chain ends, to be kept elsewhere; None when it has no event or no good head.

    Nobody should keep a head that somebody else has made.
    """
    head = store.head_read(hospital_id)
    if head is None or not head_holds(head, audit_key()):
        return None
    return Place(head["seq"], head["hash"])


def head_mend(*, hospital_id: ObjectId | None, reason: str) -> Fault | None:
    """Put a head that was altered or lost back to the last event, and say so in an event.

    Without it nothing can be appended. What else is wrong with the chain stays wrong, and
    `chain_check` goes on saying so. Returns what was wrong. Raises HeadHolds when the head is good.
    """
    found = chain_check(hospital_id)
    _head_put_back(hospital_id, found.fault, reason)
    return found.fault


@transactional
def _head_put_back(hospital_id: ObjectId | None, fault: Fault | None, reason: str) -> None:
    head, last, key = store.head_read(hospital_id), store.event_last(hospital_id), audit_key()
    if last is None or (head is not None and head_holds(head, key)):
        raise HeadHolds("The head is as the service has written it. There is nothing to mend.")
    store.head_move(head_at(last, key))
    audit_record(
        action=Action.HEAD_MEND,
        subject_kind="audit",
        hospital_id=PLATFORM if hospital_id is None else hospital_id,
        after={"found": str(fault)},
        reason=reason,
    )


class _GrowingChain:
    """A chain that others append to while it is read: the head belongs to the events seen."""

    def __init__(self, hospital_id: ObjectId | None, seq: int) -> None:
        self._hospital_id, self._seq = hospital_id, seq
        self.head: dict | None = None

    def events(self) -> Iterator[dict]:
        grows = True
        while grows:
            began = self._seq
            yield from self._further()
            self.head = store.head_read(self._hospital_id)
            grows = self._seq > began and self._is_behind()

    def _further(self) -> Iterator[dict]:
        for event in store.events_in_order(self._hospital_id, after=self._seq):
            # The verifier stops at a number that is none; until then they only rise.
            self._seq = event.get("seq", self._seq)
            yield event

    def _is_behind(self) -> bool:
        seq = self.head.get("seq") if self.head else None
        return isinstance(seq, int) and seq > self._seq
