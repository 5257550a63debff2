"""Find records that may be of one person: while somebody registers, and in the whole hospital."""

import datetime as dt
from dataclasses import dataclass
from itertools import combinations

from bson import ObjectId

from accounts.audit.actions import Action
from accounts.audit.services import audited
from accounts.keys.errors import KeyDestroyed
from workspace.models import Patient
from workspace.patients.likeness import Sign, identity_of, likeness
from workspace.patients.match_keys import match_keys_of
from workspace.trail import patient_record

# What two records of the list have in common; a shared name alone brings nobody there.
LISTED_KINDS = ("person", "mrn", "email", "phone")
# A number that more records share than this is a clinic's own or a made-up one.
MOST_SHARING = 8


@dataclass(frozen=True)
class Lookalike:
    """A record that may be of the same person, and why."""

    patient: Patient
    signs: list[Sign]

    @property
    def strength(self) -> int:
        return self.signs[0].strength


@dataclass(frozen=True)
class Pair:
    """Two live records that may be of one person, the older one first."""

    older: Patient
    newer: Patient
    signs: list[Sign]


def lookalikes_of(patient: Patient) -> list[Lookalike]:
    """Return live records that may be of the same person as a record, saved or not yet.

    A merged record that matches is answered by the one it leads to. Left out are records that
    somebody told apart from this one. The likeliest come first.
    """
    ours = identity_of(patient)
    known = {patient.pk, *patient.not_same_as}
    found: dict[ObjectId, Lookalike] = {}
    for candidate in _candidates(patient):
        signs = likeness(ours, identity_of(candidate))
        live = survivor_of(candidate) if signs else None
        if live is None or live.pk in known or candidate.pk in known:
            continue
        better = live.pk not in found or found[live.pk].strength < signs[0].strength
        if better:
            found[live.pk] = Lookalike(live, signs)
    return sorted(found.values(), key=lambda one: -one.strength)


@audited
def patients_tell_apart(*, one: Patient, other: Patient) -> None:
    """Remember that somebody compared two records and found two persons."""
    Patient.objects.tell_apart(one.pk, other.pk)
    for patient, stranger in ((one, other), (other, one)):
        patient_record(Action.TELL_APART, patient, after={"not_same_as": stranger.pk})


def survivor_of(patient: Patient) -> Patient:
    """Return the live record to which a merged one leads, by way of others if need be."""
    while patient.merged:
        patient = Patient.objects.get(pk=patient.merged_into)
    return patient


def duplicate_pairs(*, start: int, count: int) -> list[Pair]:
    """Return some of the hospital's pairs of possible duplicates, the likeliest first."""
    ids = _pair_ids()
    wanted = ids[start : start + count]
    patients = Patient.objects.in_bulk({pk for pair in wanted for pk in pair})
    return [_pair(patients[one], patients[other]) for one, other in wanted]


def _candidates(patient: Patient) -> list[Patient]:
    born = patient.birth_date
    births = [born, *_swapped(born)]
    try:
        return Patient.objects.candidates(match_keys=match_keys_of(patient), births=births)
    except KeyDestroyed:
        # What nobody can read, nobody can compare.
        return []


def _swapped(born: dt.date) -> list[dt.date]:
    return [dt.date(born.year, born.day, born.month)] if born.day <= 12 else []


def _pair_ids() -> list[tuple[ObjectId, ObjectId]]:
    """Return all pairs: by the kind of what they share, then the newest first."""
    ranks: dict[tuple[ObjectId, ObjectId], int] = {}
    for key, pks in Patient.objects.shared_match_keys(LISTED_KINDS):
        rank = LISTED_KINDS.index(key.partition(":")[0])
        for pair in combinations(sorted(pks)[:MOST_SHARING], 2):
            ranks[pair] = min(rank, ranks.get(pair, rank))
    for pair in Patient.objects.told_apart():
        ranks.pop(pair, None)
    newest_first = sorted(ranks, key=lambda pair: pair[1], reverse=True)
    return sorted(newest_first, key=ranks.__getitem__)


def _pair(older: Patient, newer: Patient) -> Pair:
    return Pair(older, newer, likeness(identity_of(older), identity_of(newer)))
