"""Read patients and cases. Every query stays inside the open hospital scope."""

import datetime as dt

from bson import ObjectId
from django.db.models import QuerySet

from workspace.models import Case, Patient
from workspace.schemas import CaseState

SWEEP_LIMIT = 500


def patient_list(*, search: str = "") -> QuerySet[Patient]:
    """Return the hospital's patients, newest first; `search` is part of a name or number."""
    patients = Patient.objects.order_by("-created_at")
    folded = " ".join(search.casefold().split())
    return patients.filter(search_text__contains=folded) if folded else patients


def case_list(*, state: str = "") -> QuerySet[Case]:
    """Return the hospital's cases, newest first, optionally those of one state."""
    cases = Case.objects.order_by("-created_at")
    return cases.filter(state=state) if state else cases


def cases_of_patient(patient_pk: ObjectId) -> QuerySet[Case]:
    return Case.objects.filter(patient_id=patient_pk).order_by("-created_at")


def cases_due(now: dt.datetime) -> list[Case]:
    """Return cases that somebody has to look at: hint unanswered, or lease run out.

    Reads across hospitals; the caller holds `every_hospital` open.
    """
    due = Case.objects.filter(state__in=[CaseState.QUEUED, CaseState.GRADING], due_at__lte=now)
    return list(due.order_by("due_at")[:SWEEP_LIMIT])
