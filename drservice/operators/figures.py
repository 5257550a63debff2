"""Numbers and dates about hospitals' records; no record, and nothing that was written in one.

MongoDB adds up and sends the sums: what a patient or a case says never leaves the database. Every
command names the hospitals that it counts.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field

from bson import ObjectId
from django.db import connection
from django.utils import timezone

from accounts.scoping import current_scope, every_hospital
from drservice.operators.words import bytes_in_words
from workspace.models import Case, Patient
from workspace.schemas import CaseState

COUNTING = "counts for the pages of platform operators"
WAITING = (CaseState.QUEUED, CaseState.GRADING)
# How long a case has waited, from the harmless to what somebody must look at: up to, in words.
WAITING_AGES = (
    (dt.timedelta(minutes=1), "up to 1 min"),
    (dt.timedelta(minutes=15), "up to 15 min"),
    (dt.timedelta(hours=1), "up to 1 h"),
    (dt.timedelta.max, "longer"),
)
FAILED_AGES = (
    (dt.timedelta(days=1), "today"),
    (dt.timedelta(days=7), "this week"),
    (dt.timedelta.max, "before"),
)


@dataclass
class HospitalFigures:
    """What operators may know of one hospital's records."""

    patients: int = 0
    cases_by_state: dict[str, int] = field(default_factory=dict)
    newest_case_at: dt.datetime | None = None
    photograph_bytes: int = 0

    @property
    def cases(self) -> int:
        return sum(self.cases_by_state.values())

    @property
    def photographs(self) -> str:
        return bytes_in_words(self.photograph_bytes)

    @property
    def states(self) -> list[tuple[str, int]]:
        """Return every state in words with its count, in the order of a case's life."""
        return [(state.label, self.cases_by_state.get(state, 0)) for state in CaseState]

    @property
    def waiting(self) -> int:
        return sum(self.cases_by_state.get(state, 0) for state in WAITING)

    @property
    def failed(self) -> int:
        return self.cases_by_state.get(CaseState.FAILED, 0)


@dataclass
class AgeFigures:
    """How many of a hospital's cases wait or have failed, and for how long."""

    waiting: list[int] = field(default_factory=lambda: [0] * len(WAITING_AGES))
    failed: list[int] = field(default_factory=lambda: [0] * len(FAILED_AGES))
    longest_since: dt.datetime | None = None

    @property
    def waiting_words(self) -> list[str]:
        return _counts_in_words(self.waiting, WAITING_AGES)

    @property
    def failed_words(self) -> list[str]:
        return _counts_in_words(self.failed, FAILED_AGES)


def hospital_figures(hospital_pks: Iterable[ObjectId]) -> dict[ObjectId, HospitalFigures]:
    """Count patients, cases and bytes of some hospitals."""
    figures = {pk: HospitalFigures() for pk in hospital_pks}
    for row in _grouped(Patient, list(figures), {"count": {"$sum": 1}}):
        figures[row["_id"]["hospital"]].patients = row["count"]
    for row in _grouped(Case, list(figures), _CASE_SUMS, by={"state": "$state"}):
        _add_cases(figures[row["_id"]["hospital"]], row)
    return figures


def age_figures(hospital_pks: Iterable[ObjectId]) -> dict[ObjectId, AgeFigures]:
    """Count the cases that wait or have failed by age; hospitals without any are left out."""
    pks, now = list(hospital_pks), timezone.now()
    found: dict[ObjectId, AgeFigures] = {}
    for row in _ages(pks, WAITING, WAITING_AGES, now):
        figures = found.setdefault(row["_id"]["hospital"], AgeFigures())
        figures.waiting[row["_id"]["age"]] = row["count"]
        figures.longest_since = _earlier(figures.longest_since, _aware(row["since"]))
    for row in _ages(pks, (CaseState.FAILED,), FAILED_AGES, now):
        figures = found.setdefault(row["_id"]["hospital"], AgeFigures())
        figures.failed[row["_id"]["age"]] = row["count"]
    return found


_CASE_SUMS = {
    "count": {"$sum": 1},
    "newest": {"$max": "$created_at"},
    "bytes": {"$sum": {"$sum": "$images.size_bytes"}},
}


def _add_cases(figures: HospitalFigures, row: dict) -> None:
    figures.cases_by_state[row["_id"]["state"]] = row["count"]
    figures.photograph_bytes += row["bytes"]
    newest = _aware(row["newest"])
    if figures.newest_case_at is None or newest > figures.newest_case_at:
        figures.newest_case_at = newest


def _ages(pks: list[ObjectId], states: tuple, ages: tuple, now: dt.datetime) -> list[dict]:
    """Count cases in `states` by how long ago they were submitted, as numbers of rows of `ages`."""
    since = {"$ifNull": ["$submitted_at", "$created_at"]}
    older_than = [now - age for age, _ in ages[:-1]]
    age = {"$sum": [{"$cond": [{"$lt": [since, limit]}, 1, 0]} for limit in older_than]}
    sums = {"count": {"$sum": 1}, "since": {"$min": since}}
    return _grouped(Case, pks, sums, by={"age": age}, where={"state": {"$in": list(states)}})


def _grouped(
    model: type,
    pks: list[ObjectId],
    sums: dict,
    *,
    by: dict | None = None,
    where: dict | None = None,
) -> list[dict]:
    """Return sums over the records of some hospitals, a row for each hospital and value of `by`."""
    with every_hospital(COUNTING):
        narrowed = current_scope(model.__name__).narrow(
            {"hospital_id": {"$in": pks}, **(where or {})}
        )
        group = {"_id": {"hospital": "$hospital_id", **(by or {})}, **sums}
        collection = connection.get_collection(model._meta.db_table)
        return list(collection.aggregate([{"$match": narrowed}, {"$group": group}]))


def _counts_in_words(counts: list[int], ages: tuple) -> list[str]:
    return [f"{count} {words}" for count, (_, words) in zip(counts, ages, strict=True) if count]


def _aware(stored: dt.datetime) -> dt.datetime:
    return stored.replace(tzinfo=dt.UTC)


def _earlier(one: dt.datetime | None, other: dt.datetime) -> dt.datetime:
    return other if one is None else min(one, other)
