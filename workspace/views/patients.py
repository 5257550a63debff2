"""Patients: find, register, correct, and start a visit."""

from functools import partial

from bson import ObjectId
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import access_membership, member
from accounts.keys.errors import KeyDestroyed
from accounts.keys.sealing import sealing_check
from accounts.pages import require_form
from accounts.permissions import Capability
from accounts.searches import search_of, search_results
from drservice.common.errors import ServiceFault
from drservice.common.list_pages import list_page
from workspace.access import access_patient
from workspace.forms import PatientForm
from workspace.models import Patient
from workspace.patients.duplicates import Lookalike, lookalikes_of, survivor_of
from workspace.patients.erasing import erasure_open
from workspace.patients.merging import merge_of, merges_into
from workspace.patients.registering import MRN_TAKEN
from workspace.patients.registering import patient_create as create_patient
from workspace.patients.registering import patient_update as update_patient
from workspace.selectors import UNLISTED_CASE_FIELDS, cases_of_patient, patient_by_mrn
from workspace.selectors import patient_list as list_patients
from workspace.services import case_start
from workspace.trail import patient_viewed, patients_searched

NEWEST_CASES = 50


@member(Capability.SEE_RECORDS)
@require_form
def patient_list(request: HttpRequest) -> HttpResponse:
    search = search_of(request)
    if results := search_results(request, search):
        return results
    page = list_page(request, partial(list_patients, search=search.words), search=search.id)
    if search.words:
        patients_searched(page.rows)
    context = {"section": "patients", "search": search, "page": page}
    return render(request, "workspace/patient_list.html", context)


@member(Capability.EDIT_PATIENTS)
@require_http_methods(["GET", "HEAD", "POST"])
def patient_create(request: HttpRequest) -> HttpResponse:
    """Register a patient, after a look at who may be the same person."""
    hospital_id = access_membership(request).hospital_id
    form = PatientForm(request.POST or None, instance=Patient(hospital_id=hospital_id))
    lookalikes = _lookalikes(form)
    told_apart = [one.patient.pk for one in lookalikes]
    if not set(map(str, told_apart)) <= set(request.POST.getlist("not_same")):
        return _ask_whether_same(request, form, lookalikes)
    patient = _saved(
        form,
        lambda fields: create_patient(hospital_id=hospital_id, not_same_as=told_apart, **fields),
    )
    if patient is None:
        return _patient_form(request, form, None)
    messages.success(request, "The patient is registered. Start the visit when you are ready.")
    return redirect("workspace:patient-detail", patient.pk)


def _lookalikes(form: PatientForm) -> list[Lookalike]:
    return lookalikes_of(form.instance) if form.is_bound and form.is_valid() else []


def _ask_whether_same(request: HttpRequest, form: PatientForm, lookalikes) -> HttpResponse:
    """Show who may be the same person; the form goes on when the nurse has told them apart."""
    patients_searched([one.patient for one in lookalikes])
    # The very same number can't be given twice, whatever the nurse says.
    taken = patient_by_mrn(form.instance.mrn) is not None
    if taken:
        form.add_error("mrn", MRN_TAKEN)
    context = {"section": "patients", "form": form, "lookalikes": lookalikes, "taken": taken}
    return render(request, "workspace/patient_form.html", context, status=422 if taken else 409)


@member(Capability.EDIT_PATIENTS)
@require_http_methods(["GET", "HEAD", "POST"])
def patient_update(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    patient = access_patient(request, pk)
    if patient.merged:
        return redirect("workspace:patient-detail", patient.pk)
    try:
        sealing_check(patient.hospital_id)
    except KeyDestroyed as fault:
        # A form full of what can't be read would only be refused.
        messages.error(request, fault.message)
        return redirect("workspace:patient-detail", patient.pk)
    # The form works on an instance of its own: a refused change must not show in the heading.
    form = PatientForm(request.POST or None, instance=access_patient(request, pk))
    if request.method != "POST":
        patient_viewed(patient)
    if _saved(form, lambda fields: update_patient(patient=patient, **fields)) is None:
        return _patient_form(request, form, patient)
    messages.success(request, "The changes are saved.")
    return redirect("workspace:patient-detail", patient.pk)


def _saved(form: PatientForm, save):
    """Save what a valid form holds; None when there is nothing to save or it was refused."""
    if not form.is_bound or not form.is_valid():
        return None
    try:
        return save(form.cleaned_data)
    except ValidationError as error:
        form.add_error(None, error)
        return None
    except ServiceFault as fault:
        form.add_error(None, fault.message)
        return None


def _patient_form(request: HttpRequest, form: PatientForm, patient) -> HttpResponse:
    context = {"section": "patients", "form": form, "patient": patient}
    status = 422 if form.is_bound else 200
    return render(request, "workspace/patient_form.html", context, status=status)


@member(Capability.SEE_RECORDS)
@require_safe
def patient_detail(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    patient = access_patient(request, pk)
    patient_viewed(patient)
    if patient.merged:
        return _patient_merged(request, patient)
    context = {
        "section": "patients",
        "patient": patient,
        "merges": [(merge, access_patient(request, merge.merged_id)) for merge in merges_into(pk)],
        "erasure": erasure_open(patient),
        "cases": cases_of_patient(patient.pk).defer(*UNLISTED_CASE_FIELDS)[:NEWEST_CASES],
    }
    return render(request, "workspace/patient_detail.html", context)


def _patient_merged(request: HttpRequest, patient: Patient) -> HttpResponse:
    """Lead from a merged record to the one that has its visits now."""
    context = {
        "section": "patients",
        "patient": patient,
        "survivor": survivor_of(patient),
        "merge": merge_of(patient.pk),
    }
    return render(request, "workspace/patient_merged.html", context)


@member(Capability.CAPTURE_CASES)
@require_http_methods(["GET", "HEAD", "POST"])
def case_create(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Ask before a visit is started, and start it when the answer comes."""
    patient = access_patient(request, pk)
    if patient.merged:
        return redirect("workspace:patient-detail", patient.pk)
    if request.method != "POST":
        patient_viewed(patient, again=True)
        context = {"section": "patients", "patient": patient}
        return render(request, "workspace/case_create.html", context)
    try:
        case = case_start(patient=patient, by=request.user.name)
    except ServiceFault as fault:
        messages.error(request, fault.message)
        return redirect("workspace:patient-list")
    return redirect("workspace:case-detail", case.pk)
