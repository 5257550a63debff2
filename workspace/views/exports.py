"""Hand out everything that is kept about one patient."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from bson import ObjectId
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect

from accounts.access import member
from accounts.pages import form_page, posted, require_form
from accounts.permissions import Capability
from accounts.scoping import hospital_scope
from drservice.common.errors import ServiceFault
from drservice.common.rate_limits import RateLimit
from workspace.access import access_patient
from workspace.models import Patient
from workspace.patients.exporting import patient_archive, patient_export_begin
from workspace.record_forms import ReasonForm
from workspace.selectors import UNLISTED_CASE_FIELDS, cases_of_patient
from workspace.trail import patient_viewed

# A patient asks for a copy now and then; whoever exports one after the other takes the hospital's.
EXPORTS = RateLimit(
    name="exports",
    most=30,
    window_s=3600,
    refusal="One person exports 30 records in an hour at most. Wait an hour, then export this one.",
)


@member(Capability.EXPORT_PATIENTS)
@require_form
def patient_export(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Ask why, note it in the audit trail, and only then send the first byte."""
    patient = access_patient(request, pk)
    if patient.merged:
        return redirect("workspace:patient-detail", patient.pk)
    form = ReasonForm(
        posted(request),
        label="What is the export for?",
        button="Export",
        hint="For instance: the patient asked for a copy",
    )
    document = _begun(form, patient, by=request.user.pk)
    if document is not None:
        return _attachment(patient, document)
    patient_viewed(patient)
    context = {
        "section": "patients",
        "patient": patient,
        "cases": list(cases_of_patient(patient.pk).defer(*UNLISTED_CASE_FIELDS)),
    }
    return form_page(request, "workspace/patient_export.html", form, **context)


def _begun(form: ReasonForm, patient: Patient, *, by: ObjectId) -> dict | None:
    if not form.is_bound or not form.is_valid():
        return None
    try:
        EXPORTS.take(by)
        return patient_export_begin(patient=patient, reason=form.cleaned_data["reason"])
    except ServiceFault as fault:
        form.add_error(None, fault.message)
        return None


def _attachment(patient: Patient, document: dict) -> StreamingHttpResponse:
    pieces = _in_pieces(patient_archive(document), patient.hospital_id)
    response = StreamingHttpResponse(pieces, content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="record-{patient.reference}.zip"'
    response["Cache-Control"] = "no-store"
    return response


async def _in_pieces(pieces: Iterator[bytes], hospital_id: ObjectId) -> AsyncIterator[bytes]:
    """Make the archive piece by piece in a thread, as fast as the browser takes it."""

    def next_piece() -> bytes | None:
        # The request's own scope was closed when the view returned.
        with hospital_scope(hospital_id):
            return next(pieces, None)

    while (piece := await sync_to_async(next_piece)()) is not None:
        if piece:
            yield piece
