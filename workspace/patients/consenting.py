"""What records of one person say of consent: as one record, and as two again.

While they are one, the stricter counts: a person who refused on either record has refused. Each
merge remembers what was taken back on its account, so that undoing it gives exactly that back. What
somebody says of the one record later outranks what the merges remember.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from accounts.audit.actions import Action
from workspace.models import Patient, PatientMerge
from workspace.trail import patient_record

CONSENTS = {
    "consent_messages": "Messages",
    "consent_training": "Photographs for training",
}
STRICTER = "A record of the same person, which was merged into this one, does not agree"
GIVEN_BACK = "As before a merge that was undone"
WITHDRAWN = "Withdrawn while two records were one: nobody can tell whose wish it was"


@dataclass(frozen=True)
class JointConsent:
    """What two records will say of one consent as one, and which of them does not agree."""

    label: str
    refusing: list[Patient]

    @property
    def agreed(self) -> bool:
        return not self.refusing


@dataclass(frozen=True)
class Parting:
    """What undoing a merge makes of consent, by the names of `CONSENTS`.

    The survivor agrees again to what is `given_back`. What is `kept_back` it would agree to, but
    for another record that stays merged into it. What is `withdrawn` was so while they were one,
    and neither agrees to it.
    """

    given_back: list[str]
    kept_back: dict[str, PatientMerge]
    withdrawn: list[str]


def consents_of(patients: Iterable[Patient]) -> list[JointConsent]:
    """Return what records will say of each consent once they are one."""
    return [
        JointConsent(label, [one for one in patients if not getattr(one, name)])
        for name, label in CONSENTS.items()
    ]


def consents_join(*, survivor: Patient, merged: Patient) -> list[str]:
    """Let the survivor of a merge agree to nothing that the other record does not agree to.

    Returns what it agreed to before. A part of the transaction that merges.
    """
    lowered = [name for name in CONSENTS if getattr(survivor, name) and not getattr(merged, name)]
    _say(survivor, dict.fromkeys(lowered, False), STRICTER)
    return lowered


def parting_of(merge: PatientMerge, *, merged: Patient, others: list[PatientMerge]) -> Parting:
    """Return what undoing a merge makes of consent; `others` are all merges into its survivor."""
    others = [one for one in others if one.pk != merge.pk]
    records = Patient.objects.in_bulk([one.merged_id for one in others])
    kept_back = {
        name: other
        for name in merge.consents_lowered
        for other in others
        if not getattr(records[other.merged_id], name)
    }
    return Parting(
        given_back=[name for name in merge.consents_lowered if name not in kept_back],
        kept_back=kept_back,
        withdrawn=[name for name in merge.consents_withdrawn if getattr(merged, name)],
    )


def consents_part(parting: Parting, *, survivor: Patient, merged: Patient) -> None:
    """Give two records back what each said of consent. A part of the transaction that undoes."""
    _say(survivor, dict.fromkeys(parting.given_back, True), GIVEN_BACK)
    _say(merged, dict.fromkeys(parting.withdrawn, False), WITHDRAWN)
    for name, other in parting.kept_back.items():
        # From now on it is this merge on whose account the survivor does not agree.
        _remember(other, lowered=[*other.consents_lowered, name])


def consents_said(before: dict, after: dict, *, merges: list[PatientMerge]) -> None:
    """Let what is said of a record now outrank what the merges into it remember.

    `before` and `after` are what the record said and says. A part of the transaction that changes
    it.
    """
    changed = [name for name in CONSENTS if before[name] != after[name]]
    for merge in merges if changed else []:
        said = [name for name in merge.consents_withdrawn if name not in changed]
        _remember(
            merge,
            lowered=[name for name in merge.consents_lowered if name not in changed],
            withdrawn=said + [name for name in changed if not after[name]],
        )


def _say(patient: Patient, consents: dict[str, bool], why: str) -> None:
    if not consents:
        return
    before = {name: getattr(patient, name) for name in consents}
    Patient.objects.consent(pk=patient.pk, consents=consents)
    patient_record(Action.CHANGE, patient, before=before, after=consents, reason=why)


def _remember(
    merge: PatientMerge, *, lowered: list[str], withdrawn: list[str] | None = None
) -> None:
    merge.consents_lowered = lowered
    if withdrawn is not None:
        merge.consents_withdrawn = withdrawn
    merge.save(update_fields=["consents_lowered", "consents_withdrawn"])
