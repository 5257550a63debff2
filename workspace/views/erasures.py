"""Keep a record longer, or ask for its erasure; and the admin's page that decides about both."""

from bson import ObjectId
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.access import access_membership, member
from accounts.pages import form_page, posted, require_form
from accounts.permissions import Capability
from drservice.common.errors import ServiceFault
from drservice.common.list_pages import list_page
from workspace.access import access_erasure, access_patient
from workspace.models import Patient
from workspace.patients.erasing import (
    erasure_ask,
    erasure_confirm,
    erasure_list,
    erasure_open,
    erasure_withdraw,
)
from workspace.patients.erasing import erasure_decline as decline_erasure
from workspace.patients.keeping import hospital_hold as hold_hospital
from workspace.patients.keeping import hospital_release as release_hospital
from workspace.patients.keeping import patient_hold as hold_patient
from workspace.patients.keeping import patient_release as release_patient
from workspace.patients.keeping import (
    records_due,
    retention_policy,
    retention_policy_change,
    why_kept,
)
from workspace.record_forms import EraseAskForm, EraseConfirmForm, ReasonForm, RetentionForm
from workspace.schemas import ErasureState
from workspace.trail import patient_viewed

HOLD = {"button": "Hold the record", "hint": "For instance: a complaint, with its number"}


@member(Capability.HOLD_PATIENTS)
@require_form
def patient_hold(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    patient = access_patient(request, pk)
    if patient.merged or patient.held:
        return redirect("workspace:patient-detail", patient.pk)
    form = ReasonForm(posted(request), label="Why must the record be kept?", **HOLD)
    if _done(
        form, lambda: hold_patient(patient=patient, by=request.user.name, **form.cleaned_data)
    ):
        messages.success(request, "The record is on hold: it will not be erased.")
        return redirect("workspace:patient-detail", patient.pk)
    patient_viewed(patient)
    return form_page(
        request, "workspace/patient_hold.html", form, section="patients", patient=patient
    )


@member(Capability.HOLD_PATIENTS)
@require_POST
def patient_release(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    patient = access_patient(request, pk)
    try:
        release_patient(patient=patient)
    except ServiceFault as fault:
        messages.error(request, fault.message)
    else:
        messages.success(request, "The hold is lifted.")
    return redirect("workspace:patient-detail", patient.pk)


@member(Capability.HOLD_PATIENTS)
@require_form
def patient_erase(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Ask for the erasure of a patient, and show its reference until it is decided."""
    patient = access_patient(request, pk)
    if patient.merged:
        return redirect("workspace:patient-detail", patient.pk)
    form = EraseAskForm(posted(request))
    if _done(form, lambda: erasure_ask(patient=patient, by=request.user, **form.cleaned_data)):
        return redirect("workspace:patient-erase", patient.pk)
    patient_viewed(patient)
    context = {
        "section": "patients",
        "patient": patient,
        "erasure": erasure_open(patient),
        "kept": why_kept(patient),
    }
    return form_page(request, "workspace/patient_erase.html", form, **context)


@member(Capability.HOLD_PATIENTS)
@require_POST
def patient_erase_withdraw(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    patient = access_patient(request, pk)
    erasure_withdraw(patient=patient, by=request.user)
    messages.success(request, "Nothing is erased: what was asked for is withdrawn.")
    return redirect("workspace:patient-detail", patient.pk)


@member(Capability.ERASE_PATIENTS)
@require_form
def record_keeping(request: HttpRequest) -> HttpResponse:
    """Show and change how long the hospital keeps records, and what waits to be decided."""
    hospital_id = access_membership(request).hospital_id
    form = RetentionForm(posted(request), instance=retention_policy(hospital_id))
    if _done(form, lambda: retention_policy_change(hospital_id=hospital_id, **form.cleaned_data)):
        messages.success(request, "Saved.")
        return redirect("workspace:record-keeping")
    policy = retention_policy(hospital_id)
    context = {
        "section": "records",
        "policy": policy,
        "due": records_due(policy, timezone.now()),
        "page": list_page(request, erasure_list),
        "hold_form": _hospital_hold_form(None),
    }
    return form_page(request, "workspace/record_keeping.html", form, **context)


def _hospital_hold_form(sent) -> ReasonForm:
    return ReasonForm(
        sent,
        label="Why must everything be kept?",
        button="Hold all records",
        hint="For instance: an investigation, with its number",
    )


@member(Capability.ERASE_PATIENTS)
@require_POST
def hospital_hold(request: HttpRequest) -> HttpResponse:
    form = _hospital_hold_form(request.POST)
    hospital_id = access_membership(request).hospital_id
    held = _done(
        form,
        lambda: hold_hospital(hospital_id=hospital_id, by=request.user.name, **form.cleaned_data),
    )
    if held:
        messages.success(request, "All records are on hold: nothing will be erased.")
    else:
        messages.error(request, "Say in a few words why everything must be kept.")
    return redirect("workspace:record-keeping")


@member(Capability.ERASE_PATIENTS)
@require_POST
def hospital_release(request: HttpRequest) -> HttpResponse:
    release_hospital(hospital_id=access_membership(request).hospital_id)
    messages.success(request, "The hold is lifted. Holds on single records stay.")
    return redirect("workspace:record-keeping")


@member(Capability.ERASE_PATIENTS)
@require_form
def erasure_detail(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Show what was asked for, without saying of whom, and erase it by its reference."""
    erasure = access_erasure(request, pk)
    form = EraseConfirmForm(posted(request))
    if _done(form, lambda: erasure_confirm(erasure=erasure, by=request.user, **form.cleaned_data)):
        messages.success(request, "The record is erased.")
        return redirect("workspace:record-keeping")
    context = {
        "section": "records",
        "erasure": erasure,
        "open": erasure.state == ErasureState.ASKED,
        "own": erasure.asked_by_id == str(request.user.pk),
        "kept": _kept(erasure.patient_id),
    }
    return form_page(request, "workspace/erasure_detail.html", form, **context)


def _kept(patient_pk: ObjectId) -> str:
    patient = Patient.objects.filter(pk=patient_pk).first()
    return why_kept(patient) if patient else ""


@member(Capability.ERASE_PATIENTS)
@require_POST
def erasure_decline(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    erasure = access_erasure(request, pk)
    try:
        decline_erasure(erasure=erasure, by=request.user)
    except ServiceFault as fault:
        messages.error(request, fault.message)
    else:
        messages.success(request, "Declined: nothing is erased.")
    return redirect("workspace:record-keeping")


def _done(form, act) -> bool:
    """Act on a valid form; False when there is nothing to do, or it was refused with a reason."""
    if not form.is_bound or not form.is_valid():
        return False
    try:
        act()
    except ServiceFault as fault:
        form.add_error(None, fault.message)
        return False
    except ValidationError as error:
        form.add_error(None, error)
        return False
    return True
