"""Possible duplicates: find them, look at two records side by side, merge them, and undo it."""

from bson import ObjectId
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.access import member
from accounts.pages import form_page, posted, require_form
from accounts.permissions import Capability
from accounts.searches import search_of, search_results
from drservice.common.errors import ServiceFault
from drservice.common.list_pages import list_page
from workspace.access import access_patient
from workspace.models import Patient, PatientMerge
from workspace.patients.consenting import CONSENTS, consents_of, parting_of
from workspace.patients.duplicates import (
    Lookalike,
    duplicate_pairs,
    lookalikes_of,
    patients_tell_apart,
    survivor_of,
)
from workspace.patients.likeness import identity_of, likeness
from workspace.patients.merging import merge_of, merges_into, patient_merge, patient_unmerge
from workspace.record_forms import MergeForm, ReasonForm
from workspace.selectors import UNLISTED_CASE_FIELDS, cases_of_patient, patient_list
from workspace.trail import patient_viewed, patients_searched

MOST_FOUND = 10


@member(Capability.MERGE_PATIENTS)
@require_safe
def duplicate_list(request: HttpRequest) -> HttpResponse:
    """Show the hospital's possible duplicates, the likeliest first."""
    page = list_page(request, duplicate_pairs)
    patients_searched([patient for pair in page.rows for patient in (pair.older, pair.newer)])
    context = {"section": "patients", "page": page}
    return render(request, "workspace/duplicate_list.html", context)


@member(Capability.MERGE_PATIENTS)
@require_form
def patient_duplicates(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Show what may be other records of a patient, and find any other by name or number."""
    patient = survivor_of(access_patient(request, pk))
    search = search_of(request)
    if results := search_results(request, search):
        return results
    patient_viewed(patient, again=True)
    found = _found(patient, search.words) if search.words else lookalikes_of(patient)
    patients_searched([one.patient for one in found])
    context = {"section": "patients", "patient": patient, "search": search, "lookalikes": found}
    return render(request, "workspace/patient_duplicates.html", context)


def _found(patient: Patient, search: str) -> list[Lookalike]:
    ours = identity_of(patient)
    others = patient_list(search=search, start=0, count=MOST_FOUND)
    return [
        Lookalike(other, likeness(ours, identity_of(other)))
        for other in others
        if other.pk != patient.pk
    ]


@member(Capability.MERGE_PATIENTS)
@require_form
def patient_merge_view(request: HttpRequest, pk: ObjectId, other: ObjectId) -> HttpResponse:
    """Show two records side by side and merge them, whichever is to stay."""
    pair = _pair(request, pk, other)
    if any(patient.merged for patient in pair):
        messages.info(request, "One of these records is merged already.")
        return redirect("workspace:patient-detail", survivor_of(pair[0]).pk)
    form = MergeForm(posted(request), patients=pair, initial={"keep": str(pair[0].pk)})
    survivor = _merged(request, form, pair)
    if survivor is not None:
        messages.success(request, "The records are merged. You can undo this below.")
        return redirect("workspace:patient-detail", survivor.pk)
    for patient in pair:
        patient_viewed(patient)
    context = {
        "section": "patients",
        "sides": [(patient, _cases(patient)) for patient in pair],
        "signs": likeness(*map(identity_of, pair)),
        "consents": consents_of(pair),
    }
    return form_page(request, "workspace/patient_merge.html", form, **context)


def _pair(request: HttpRequest, pk: ObjectId, other: ObjectId) -> tuple[Patient, Patient]:
    if pk == other:
        raise Http404
    return access_patient(request, pk), access_patient(request, other)


def _cases(patient: Patient) -> list:
    return list(cases_of_patient(patient.pk).defer(*UNLISTED_CASE_FIELDS))


def _merged(request: HttpRequest, form: MergeForm, pair: tuple) -> Patient | None:
    """Merge as a valid form says; None when there is nothing to do or it was refused."""
    if not form.is_bound or not form.is_valid():
        return None
    stays, goes = pair if form.cleaned_data["keep"] == str(pair[0].pk) else reversed(pair)
    try:
        patient_merge(
            survivor=stays, merged=goes, by=request.user.name, reason=form.cleaned_data["reason"]
        )
    except ServiceFault as fault:
        form.add_error(None, fault.message)
        return None
    return stays


@member(Capability.MERGE_PATIENTS)
@require_POST
def patient_tell_apart(request: HttpRequest, pk: ObjectId, other: ObjectId) -> HttpResponse:
    one, stranger = _pair(request, pk, other)
    patients_tell_apart(one=one, other=stranger)
    messages.success(request, "Noted: these are two persons. The pair is not shown again.")
    return redirect("workspace:duplicate-list")


@member(Capability.MERGE_PATIENTS)
@require_form
def patient_unmerge_view(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Ask why a merge is undone, and undo it."""
    merged = access_patient(request, pk)
    merge = merge_of(merged.pk)
    if merge is None:
        return redirect("workspace:patient-detail", merged.pk)
    form = ReasonForm(
        posted(request),
        label="Why is the merge undone?",
        button="Undo the merge",
        hint="For instance: father and son",
    )
    if _unmerged(request, form, merged):
        messages.success(request, "The merge is undone. These are two records again.")
        return redirect("workspace:patient-detail", merged.pk)
    context = {
        "section": "patients",
        "patient": merged,
        "survivor": access_patient(request, merge.survivor_id),
        "merge": merge,
        **_consents_after(merge, merged),
    }
    return form_page(request, "workspace/patient_unmerge.html", form, **context)


def _consents_after(merge: PatientMerge, merged: Patient) -> dict[str, list[str]]:
    """Return which consents the records won't have back, in words."""
    parting = parting_of(merge, merged=merged, others=merges_into(merge.survivor_id))
    return {
        "kept_back": [CONSENTS[name] for name in parting.kept_back],
        "withdrawn": [CONSENTS[name] for name in parting.withdrawn],
    }


def _unmerged(request: HttpRequest, form: ReasonForm, merged: Patient) -> bool:
    if not form.is_bound or not form.is_valid():
        return False
    try:
        patient_unmerge(merged=merged, by=request.user.name, reason=form.cleaned_data["reason"])
    except ServiceFault as fault:
        form.add_error(None, fault.message)
        return False
    return True
