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

# What pages call the kinds of record that events are about; others are shown as they are.
SUBJECTS = {
    "patients": "List of patients",
    "account": "Account",
    "audit": "Audit trail",
    "hospital_key": "Keys of the hospital",
    "master_key": "Master key",
}
RECORD_ID_LETTERS = 24


@dataclass(frozen=True)
class FieldChange:
    """One field of a record, as it was and as it is, in words."""

    name: str
    before: str
    after: str


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
    def actor_kind_label(self) -> str:
        """Say what kind of actor a name stands for; people are taken for granted."""
        named = self.name and self.event.actor_kind != ActorKind.PERSON
        return _label(ActorKind, self.event.actor_kind) if named else ""

    @property
    def subject_label(self) -> str:
        kind = self.event.subject_kind
        if ":" in kind:
            # The name of a page whose door stayed shut.
            return f"Page {kind.partition(':')[2].replace('-', ' ')}"
        return SUBJECTS.get(kind, kind.replace("_", " ").capitalize())

    @property
    def record_id(self) -> str:
        """The id of the record that the event is about, or to which what it is about belongs."""
        found = self.event.subject_id.partition("/")[0]
        return found if ObjectId.is_valid(found) and len(found) == RECORD_ID_LETTERS else ""

    @property
    def reference(self) -> str:
        """The short form of the id that people read to each other."""
        return self.record_id[-6:].upper()

    @property
    def changes(self) -> list[FieldChange]:
        """Return each field that differs, with what it was and what it is."""
        names = {**self.before, **self.after}
        found = [
            FieldChange(
                name.replace("_", " "),
                _in_words(self.before.get(name)),
                _in_words(self.after.get(name)),
            )
            for name in names
        ]
        return [change for change in found if change.before or change.after]


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


def _in_words(value: object) -> str:
    if value is None or value in ("", []):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_in_words(one) for one in value)
    return str(value)
