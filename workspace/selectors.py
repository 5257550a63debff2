"""Read patients and cases. Every query stays inside the open hospital scope."""

import datetime as dt

from bson import ObjectId
from django.db.models import QuerySet

from workspace.models import Case, Patient
from workspace.schemas import CaseState, Decision

SWEEP_LIMIT = 500

# What the worklist can be narrowed to: a word of its own for each question that staff ask it.
CASE_FILTERS = {
    "draft": {"state": CaseState.DRAFT},
    "waiting": {"state__in": [CaseState.QUEUED, CaseState.GRADING]},
    "failed": {"state": CaseState.FAILED},
    "retake": {"outcome__decision": Decision.RETAKE},
    "urgent": {"outcome__decision": Decision.REFER_URGENT},
    "graded": {"state": CaseState.GRADED},
}


def patient_list(*, search: str = "") -> QuerySet[Patient]:
    """Return the hospital's patients, newest first; `search` is part of a name or number."""
    patients = Patient.objects.order_by("-created_at")
    # MongoDB refuses a NUL in a pattern; no name holds one.
    folded = " ".join(search.replace("\0", " ").casefold().split())
    return patients.filter(search_text__contains=folded) if folded else patients


def case_list(*, state: str = "") -> QuerySet[Case]:
    """Return the hospital's cases, newest first; `state` is a key of CASE_FILTERS, or empty."""
    return Case.objects.filter(**CASE_FILTERS.get(state, {})).order_by("-created_at")


def case_draft_empty(patient_pk: ObjectId) -> Case | None:
    """Return a case of the patient that was started and never used, or None."""
    drafts = cases_of_patient(patient_pk).filter(state=CaseState.DRAFT)
    return next((draft for draft in drafts if not draft.images), None)


def cases_of_patient(patient_pk: ObjectId) -> QuerySet[Case]:
    return Case.objects.filter(patient_id=patient_pk).order_by("-created_at")


def cases_due(now: dt.datetime) -> list[Case]:
    """Return cases that somebody has to look at: hint unanswered, or lease run out.

    Reads across hospitals; the caller holds `every_hospital` open.
    """
    due = Case.objects.filter(state__in=[CaseState.QUEUED, CaseState.GRADING], due_at__lte=now)
    return list(due.order_by("due_at")[:SWEEP_LIMIT])
