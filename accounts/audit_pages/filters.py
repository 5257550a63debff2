"""What an auditor looks for: as a form, and as a condition on events."""

import datetime as dt
import re

from bson import ObjectId
from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.models import Hospital
from accounts.selectors import member_list

RECORD_ID = re.compile(r"[0-9a-f]{24}")
ACTIONS = sorted(Action.choices, key=lambda choice: choice[1])
FIRST_DAY, LAST_DAY = dt.date(1900, 1, 1), dt.date(2999, 12, 31)
NO_RECORD = "A record is named by the 24 letters and digits in the address of its page."


class _DayField(forms.DateField):
    """A day within what a calendar can count on from in every time zone; may stay empty."""

    widget = forms.DateInput(attrs={"type": "date"})

    def __init__(self, **kwargs) -> None:
        super().__init__(required=False, **kwargs)
        self.validators += [MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)]


class AuditFilterForm(forms.Form):
    """What the address of the trail narrows it to: ids, kinds and days, never what was typed.

    All fields may stay empty; an empty form matches every event.
    """

    person = forms.ChoiceField(required=False)
    action = forms.ChoiceField(
        required=False,
        choices=[("", "Everything"), *sorted(Action.choices, key=lambda one: one[1])],
    )
    record = forms.CharField(
        label="Patient or case",
        required=False,
        max_length=300,
        widget=forms.TextInput(attrs={"placeholder": "Address of its page"}),
    )
    since = _DayField(label="From")
    until = _DayField(label="To, and on")

    def __init__(self, *args, hospital: Hospital, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        people = [(str(member.user_id), member.name) for member in member_list(hospital)]
        self.fields["person"].choices = [("", "Everybody"), *people, ("-", "Nobody who signed in")]
        for name, field in self.fields.items():
            kind = "form-select" if name in ("person", "action") else "form-control"
            field.widget.attrs["class"] = kind

    def clean_record(self) -> str:
        record = self.cleaned_data["record"]
        if record and not RECORD_ID.fullmatch(record):
            raise ValidationError(NO_RECORD)
        return record

    def where(self) -> dict:
        """Return the filter as MongoDB understands it; nothing matches a form with a mistake."""
        if not self.is_valid():
            return {"_id": None}
        asked = self.cleaned_data
        return {
            **_person(asked["person"]),
            **({"action": asked["action"]} if asked["action"] else {}),
            **_record(asked["record"]),
            **_period(asked["since"], asked["until"]),
        }

    def in_words(self) -> dict:
        """Return what is asked for, as addresses and the export's own event keep it."""
        return {name: value for name, value in self.cleaned_data.items() if value}


class AuditSearchForm(AuditFilterForm):
    """What an auditor fills in: a record may be named by whatever was pasted."""

    def clean_record(self) -> str:
        """Find the id in an address, or the id alone."""
        text = self.cleaned_data["record"].strip().lower()
        found = RECORD_ID.search(text)
        if text and found is None:
            raise ValidationError(NO_RECORD)
        return found.group() if found else ""


def _person(value: str) -> dict:
    if not value:
        return {}
    return {"actor_id": "" if value == "-" else value}


def _record(value: str) -> dict:
    """Match a record by its id, what belongs to it, and what is about the patient of that id."""
    if not value:
        return {}
    its_parts = {"$gte": value, "$lt": f"{value}0"}
    return {"$or": [{"subject_id": its_parts}, {"patient_id": ObjectId(value)}]}


def _period(since: dt.date | None, until: dt.date | None) -> dict:
    bounds = {}
    if since:
        bounds["$gte"] = _midnight(since)
    if until:
        bounds["$lt"] = _midnight(until + dt.timedelta(days=1))
    return {"at": bounds} if bounds else {}


def _midnight(day: dt.date) -> dt.datetime:
    """Return when a day begins here, as the database keeps times: naive, in UTC."""
    begins = timezone.make_aware(dt.datetime.combine(day, dt.time()))
    return begins.astimezone(dt.UTC).replace(tzinfo=None)
