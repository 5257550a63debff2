"""Read the audit trail: events with what was sealed in them opened."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from bson import ObjectId

from accounts.audit.actions import Action
from accounts.audit.actors import ActorKind
from accounts.audit.models import AuditEvent
from accounts.audit.sealing import unseal_for
from accounts.audit.subject_keys import PREFIX, SubjectOpener
from accounts.keys.sealing import UNREADABLE


@dataclass(frozen=True)
class ToldEvent:
    """An event as people read it. `erased`: its details can't be opened any more."""

    event: AuditEvent
    name: str = ""
    address: str = ""
    before: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)
    reason: str = ""
    erased: bool = False

    @property
    def action_label(self) -> str:
        return _label(Action, self.event.action)

    @property
    def actor_label(self) -> str:
        return self.name or _label(ActorKind, self.event.actor_kind)

    @property
    def changes(self) -> list[tuple[str, object, object]]:
        """Return each field that differs, with what it was and what it is."""
        names = {**self.before, **self.after}
        return [(name, self.before.get(name), self.after.get(name)) for name in names]


def events_told(events: Iterable[AuditEvent], *, hospital_id: ObjectId | None) -> list[ToldEvent]:
    """Open what is sealed in some events of one chain, with one look for the patients' keys."""
    events = list(events)
    opener = _opener(events, hospital_id)
    return [_told(event, opener) for event in events]


def _opener(events: list[AuditEvent], hospital_id: ObjectId | None) -> SubjectOpener | None:
    patients = {one.patient_id for one in events if one.details.startswith(PREFIX)}
    return SubjectOpener(hospital_id, patients) if patients and hospital_id else None


def _told(event: AuditEvent, opener: SubjectOpener | None) -> ToldEvent:
    who, details = _words(_who(event)), _words(_details(event, opener))
    told = {name: details[name] for name in ("before", "after", "reason") if details.get(name)}
    return ToldEvent(
        event,
        name=who.get("name", ""),
        address=who.get("address", ""),
        erased=bool(event.details) and not details,
        **told,
    )


def _who(event: AuditEvent) -> str:
    return unseal_for(event.who) if event.who else ""


def _details(event: AuditEvent, opener: SubjectOpener | None) -> str:
    if not event.details.startswith(PREFIX):
        return unseal_for(event.details) if event.details else ""
    return opener.opened(event.details, event.patient_id) if opener else UNREADABLE


def _words(text: str) -> dict:
    return json.loads(text) if text and text != UNREADABLE else {}


def _label(choices, value: str) -> str:
    return choices(value).label if value in choices else value
