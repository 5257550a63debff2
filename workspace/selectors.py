"""Read patients and cases. Every query stays inside the open hospital scope."""

import datetime as dt
import re

from bson import ObjectId
from django.db.models import QuerySet

from workspace.models import Case, Patient
from workspace.schemas import CaseState, Decision

SWEEP_LIMIT = 500

# What the worklist can be narrowed to: a word of its own for each question that staff ask it.
CASE_FILTERS = {
    "": {},
    "draft": {"state": CaseState.DRAFT},
    "waiting": {"state": {"$in": [CaseState.QUEUED, CaseState.GRADING]}},
    "failed": {"state": CaseState.FAILED},
    "retake": {"outcome.decision": Decision.RETAKE},
    "urgent": {"outcome.decision": Decision.REFER_URGENT},
    "graded": {"state": CaseState.GRADED},
}
# What no row of a list of cases shows, and what takes most of the time to read.
UNLISTED_CASE_FIELDS = ("images", "history", "notes")


def patient_list(*, search: str = "", start: int, count: int) -> list[Patient]:
    """Return some of the hospital's patients, newest first; `search` is part of name or number."""
    # MongoDB refuses a NUL in a pattern; no name holds one.
    folded = " ".join(search.replace("\0", " ").casefold().split())
    where = {"search_text": {"$regex": re.escape(folded)}} if folded else {}
    return Patient.objects.newest(where=where, start=start, count=count)


def case_list(*, state: str = "", start: int, count: int) -> list[Case]:
    """Return some of the hospital's cases, newest first, without photographs and history.

    `state` is a key of CASE_FILTERS.
    """
    return Case.objects.newest(
        where=CASE_FILTERS[state], start=start, count=count, without=UNLISTED_CASE_FIELDS
    )


def case_versions(count: int) -> tuple[tuple[ObjectId, int], ...]:
    """Return ids and versions of the newest cases: a mark that changes when one of them does."""
    newest = case_list(start=0, count=count)
    return tuple((case.pk, case.version) for case in newest)


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
