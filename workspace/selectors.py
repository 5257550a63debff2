"""Read patients and cases. Every query stays inside the open hospital scope."""

import datetime as dt

from bson import ObjectId
from django.db.models import QuerySet

from accounts.keys.errors import KeyDestroyed
from accounts.limits.services import Stored
from accounts.scoping import current_scope
from workspace.models import Case, Patient
from workspace.patient_search import mrn_hash, query_hashes
from workspace.patient_verbs import LIVE
from workspace.schemas import CaseState, Decision

SWEEP_LIMIT = 500
# So many patients with a word are many; a search counts no further.
COMMON_WORD = 1000

# What the worklist can be narrowed to: a word of its own for each question that staff ask it.
CASE_FILTERS = {
    "": {"state": {"$ne": CaseState.VOIDED}},
    "draft": {"state": CaseState.DRAFT},
    "waiting": {"state": {"$in": [CaseState.QUEUED, CaseState.GRADING]}},
    "failed": {"state": CaseState.FAILED},
    "retake": {"outcome.decision": Decision.RETAKE, "state": {"$ne": CaseState.VOIDED}},
    "urgent": {"outcome.decision": Decision.REFER_URGENT, "state": {"$ne": CaseState.VOIDED}},
    "graded": {"state": CaseState.GRADED},
}
# What no row of a list of cases shows, and what takes most of the time to read.
UNLISTED_CASE_FIELDS = ("images", "history", "notes")


def patient_list(*, search: str = "", start: int, count: int) -> list[Patient]:
    """Return some of the hospital's patients, newest first.

    Each word of `search` begins a word of name or number. Nobody is found once the hospital's key
    has been destroyed. Merged records are only there for who searches: their number may stand on
    a paper.
    """
    if not search.split():
        return Patient.objects.newest(where=LIVE, start=start, count=count)
    try:
        hashes = query_hashes(search, _hospital_id())
    except KeyDestroyed:
        return []
    return Patient.objects.newest(where=_carrying(hashes), start=start, count=count)


def _carrying(hashes: list[str]) -> dict:
    """Return a filter for the patients that carry every hash, found by the rarest of them.

    Left to itself MongoDB walks along the first. It can't use an index for `$expr`, by design here.
    """
    if len(hashes) == 1:
        return {"search_hashes": hashes[0]}
    rarest, *others = sorted(hashes, key=_carriers)
    return {"search_hashes": rarest, "$expr": {"$setIsSubset": [others, "$search_hashes"]}}


def _carriers(one: str) -> int:
    return Patient.objects.count_up_to(COMMON_WORD, {"search_hashes": one})


def patient_by_mrn(mrn: str) -> Patient | None:
    """Return the open hospital's patient of a record number, or None. Raises KeyDestroyed."""
    return Patient.objects.filter(mrn_hash=mrn_hash(mrn, _hospital_id())).first()


def _hospital_id() -> ObjectId:
    return current_scope("Patient").hospital_id


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


def case_with_photographs_of(case: Case) -> Case | None:
    """Return another case that holds one of a case's photographs and counts as a visit, or None."""
    sha256s = [image.sha256 for image in case.images]
    return Case.objects.with_image(sha256s=sha256s, other_than=case.pk)


def cases_of_patient(patient_pk: ObjectId) -> QuerySet[Case]:
    return Case.objects.filter(patient_id=patient_pk).order_by("-created_at")


def cases_due(now: dt.datetime) -> list[Case]:
    """Return cases that somebody has to look at: hint unanswered, or lease run out.

    Reads across hospitals; the caller holds `every_hospital` open.
    """
    due = Case.objects.filter(state__in=[CaseState.QUEUED, CaseState.GRADING], due_at__lte=now)
    return list(due.order_by("due_at")[:SWEEP_LIMIT])


def photographs_stored() -> Stored:
    """Count the open hospital's photographs and their bytes, as they were uploaded."""
    sums = {"_id": None, "count": {"$sum": {"$size": "$images"}}}
    sums["bytes"] = {"$sum": {"$sum": "$images.size_bytes"}}
    counted = list(Case.objects.raw_aggregate([{"$group": sums}]))
    return Stored(counted[0].count, counted[0].bytes) if counted else Stored(0, 0)
