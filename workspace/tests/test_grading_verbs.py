"""Every verb on every state of a case: what moves, where to, and what is left as it was."""

import datetime as dt
import itertools
from collections.abc import Callable

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Hospital
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from workspace.case_parts import CaseOutcome, StateChange
from workspace.models import Case
from workspace.schemas import CaseState, Decision, Laterality
from workspace.tests.factories import make_case, make_image, make_patient

pytestmark = pytest.mark.django_db(transaction=True)

ATTEMPT = 2
HOUR = dt.timedelta(hours=1)


def situations() -> dict[str, dict]:
    """Return every state that makes a difference, as fields of the stored case."""
    now = timezone.now()
    waiting = {"attempt": ATTEMPT, "attempt_limit": 4}
    queued = {"state": CaseState.QUEUED, "due_at": now + HOUR, **waiting}
    return {
        "draft": {"state": CaseState.DRAFT},
        "queued": queued,
        "used up": {"state": CaseState.QUEUED, "due_at": now, "attempt": 2, "attempt_limit": 2},
        "grading": {"state": CaseState.GRADING, "due_at": now + HOUR, **waiting},
        "lost": {"state": CaseState.GRADING, "due_at": now - HOUR, **waiting},
        "graded": {"state": CaseState.GRADED, "outcome": Decision.REFER, "attempt": ATTEMPT},
        "retake": {"state": CaseState.GRADED, "outcome": Decision.RETAKE, "attempt": ATTEMPT},
        "failed": {"state": CaseState.FAILED, "attempt": ATTEMPT},
        "retake queued": {**queued, "outcome": Decision.RETAKE},
        "retake failed": {
            "state": CaseState.FAILED,
            "outcome": Decision.RETAKE,
            "attempt": ATTEMPT,
        },
        "cancelled": {"state": CaseState.CANCELLED, "attempt": ATTEMPT},
        "voided": {"state": CaseState.VOIDED, "outcome": Decision.RETAKE, "attempt": ATTEMPT},
        "voided failed": {
            "state": CaseState.VOIDED,
            "outcome": Decision.RETAKE,
            "attempt": ATTEMPT,
            "history": [_step(CaseState.FAILED), _step(CaseState.VOIDED), _step(CaseState.VOIDED)],
        },
    }


def _step(state: CaseState) -> StateChange:
    return StateChange(at=timezone.now(), state=state, by="N")


def outcome_of(decision: Decision) -> CaseOutcome:
    return CaseOutcome(
        decision=decision, right_eye=0, left_eye=0, reasons=[], decided_at=timezone.now()
    )


def submit(case: Case) -> Case | None:
    now = timezone.now()
    return Case.objects.submit(
        case=case, images=case.images, by="N", now=now, due_at=now + HOUR, max_attempts=4
    )


def claim(case: Case) -> Case | None:
    return Case.objects.claim(pk=case.pk, by="W", now=timezone.now(), lease_s=60)


def renew(case: Case) -> bool:
    return Case.objects.renew(pk=case.pk, attempt=ATTEMPT, now=timezone.now(), lease_s=60)


def renew_by_another(case: Case) -> bool:
    return Case.objects.renew(pk=case.pk, attempt=ATTEMPT - 1, now=timezone.now(), lease_s=60)


def complete(case: Case, attempt: int = ATTEMPT) -> Case | None:
    outcome = outcome_of(Decision.REFER)
    return Case.objects.complete(pk=case.pk, attempt=attempt, images=case.images, outcome=outcome)


def complete_by_another(case: Case) -> Case | None:
    return complete(case, ATTEMPT - 1)


def release(case: Case) -> Case | None:
    due_at = timezone.now() + HOUR
    return Case.objects.release(pk=case.pk, attempt=ATTEMPT, reason="why", due_at=due_at)


def release_as_seen_before_a_renewal(case: Case) -> Case | None:
    seen = (case.due_at or timezone.now()) - HOUR
    return Case.objects.release(
        pk=case.pk, attempt=ATTEMPT, reason="why", due_at=seen, seen_due_at=seen
    )


def give_up_queued(case: Case) -> Case | None:
    return Case.objects.give_up(
        pk=case.pk, attempt=ATTEMPT, state=CaseState.QUEUED, reason="why", by="S"
    )


def give_up_grading(case: Case) -> Case | None:
    return Case.objects.give_up(
        pk=case.pk, attempt=ATTEMPT, state=CaseState.GRADING, reason="why", by="S"
    )


def give_up_as_seen_before_a_renewal(case: Case) -> Case | None:
    seen = (case.due_at or timezone.now()) - HOUR
    return Case.objects.give_up(
        pk=case.pk,
        attempt=ATTEMPT,
        state=CaseState.GRADING,
        reason="why",
        by="S",
        seen_due_at=seen,
    )


def cancel(case: Case) -> Case | None:
    return Case.objects.cancel(pk=case.pk, by="N", words="why")


def void(case: Case) -> Case | None:
    return Case.objects.void(pk=case.pk, version=case.version, by="N", words="why")


def void_unseen(case: Case) -> Case | None:
    return Case.objects.void(pk=case.pk, version=case.version - 1, by="N", words="why")


def reinstate(case: Case) -> Case | None:
    return _reinstate(case, case.version)


def reinstate_unseen(case: Case) -> Case | None:
    return _reinstate(case, case.version - 1)


def _reinstate(case: Case, version: int) -> Case | None:
    to = case.state_before_void
    return Case.objects.reinstate(pk=case.pk, version=version, to=to, by="N", words="why")


def settle(case: Case) -> Case | None:
    outcome = outcome_of(Decision.REFER)
    return Case.objects.settle(case=case, outcome=outcome, by="N", words="why")


def postpone_hint(case: Case) -> Case | None:
    seen = case.due_at or timezone.now()
    return Case.objects.postpone_hint(pk=case.pk, seen_due_at=seen, due_at=seen + HOUR)


def amend(case: Case) -> Case | None:
    return Case.objects.amend(pk=case.pk, version=case.version, values={"camera": "X"})


def amend_unseen(case: Case) -> Case | None:
    return Case.objects.amend(pk=case.pk, version=case.version - 1, values={"camera": "X"})


def add_image(case: Case) -> Case | None:
    return Case.objects.add_image(pk=case.pk, image=make_image(Laterality.OD))


def remove_image(case: Case) -> Case | None:
    return Case.objects.remove_image(pk=case.pk, key=case.images[0].key)


def label_image(case: Case) -> Case | None:
    key = case.images[0].key
    return Case.objects.label_image(pk=case.pk, key=key, laterality=Laterality.OS, field="disc")


STAYS = "as it was"
EDITABLE = dict.fromkeys(("draft", "retake", "failed", "retake failed"), STAYS)

# For each verb the situations in which it acts, and the state after it. Elsewhere it does nothing.
TABLE: dict[Callable, dict[str, str]] = {
    submit: dict.fromkeys(EDITABLE, CaseState.QUEUED),
    claim: dict.fromkeys(("queued", "retake queued", "lost"), CaseState.GRADING),
    renew: {"grading": STAYS, "lost": STAYS},
    renew_by_another: {},
    complete: {"grading": CaseState.GRADED, "lost": CaseState.GRADED},
    complete_by_another: {},
    release: {"grading": CaseState.QUEUED, "lost": CaseState.QUEUED},
    release_as_seen_before_a_renewal: {},
    give_up_as_seen_before_a_renewal: {},
    give_up_queued: dict.fromkeys(("queued", "retake queued", "used up"), CaseState.FAILED),
    give_up_grading: {"grading": CaseState.FAILED, "lost": CaseState.FAILED},
    cancel: dict.fromkeys(("draft", "queued", "used up", "failed"), CaseState.CANCELLED),
    void: dict.fromkeys(("graded", "retake", "retake failed"), CaseState.VOIDED),
    void_unseen: {},
    reinstate: {"voided": CaseState.GRADED, "voided failed": CaseState.FAILED},
    reinstate_unseen: {},
    settle: {"retake": CaseState.GRADED, "retake failed": CaseState.GRADED},
    postpone_hint: dict.fromkeys(("queued", "retake queued", "used up"), STAYS),
    amend: EDITABLE,
    amend_unseen: {},
    add_image: EDITABLE,
    remove_image: EDITABLE,
    label_image: EDITABLE,
}


def in_situation(hospital: Hospital, fields: dict) -> Case:
    case = make_case(make_patient(hospital))
    decision = fields.get("outcome")
    for name, value in fields.items():
        setattr(case, name, value)
    case.outcome = outcome_of(decision) if decision else None
    case.save()
    return Case.objects.get(pk=case.pk)


def stored(case: Case) -> dict:
    return connection.get_collection(Case._meta.db_table).find_one({"_id": case.pk})


@pytest.mark.parametrize("verb", TABLE, ids=lambda verb: verb.__name__)
def test_verb_acts_where_the_table_says_and_nowhere_else(verb):
    hospital = make_hospital("Verbs")
    with hospital_scope(hospital.pk):
        for name, fields in situations().items():
            case = in_situation(hospital, fields)
            before = stored(case)
            acted = verb(case)
            expected = TABLE[verb].get(name)
            if expected is None:
                assert not acted, f"{verb.__name__} acted on {name}"
                assert stored(case) == before, f"{verb.__name__} changed {name}"
                continue
            assert acted, f"{verb.__name__} did nothing on {name}"
            after = stored(case)
            assert after != before
            assert after["state"] == (before["state"] if expected == STAYS else expected)
            if after["state"] != before["state"] or verb is claim:
                assert after["history"][-1]["state"] == after["state"]
                assert after["version"] == before["version"] + 1


def test_verbs_of_one_hospital_never_touch_a_case_of_another():
    ours, theirs = make_hospital("Ours"), make_hospital("Theirs")
    for verb, name in itertools.product(TABLE, situations()):
        if name not in TABLE[verb]:
            continue
        with hospital_scope(theirs.pk):
            case = in_situation(theirs, situations()[name])
        before = stored(case)
        with hospital_scope(ours.pk):
            assert not verb(case)
        assert stored(case) == before
