"""Cases: the worklist, one case in each of its states, and what staff do with it."""

from functools import partial

from bson import ObjectId
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import NOT_FOUND, access_membership, member, signed_in
from accounts.permissions import Capability
from drservice.common.errors import ServiceFault
from drservice.common.list_pages import list_page
from drservice.common.numbers import whole_number
from workspace.access import access_case
from workspace.case_events import Listener, case_stream, worklist_stream
from workspace.forms import (
    CaseCancelForm,
    CaseDetailsForm,
    CaseReinstateForm,
    CaseVoidForm,
    RetakesEndForm,
)
from workspace.models import Case
from workspace.selectors import case_list as list_cases
from workspace.services import case_amend
from workspace.services import case_cancel as cancel_case
from workspace.services import case_end_retakes as end_retakes
from workspace.services import case_reinstate as reinstate_case
from workspace.services import case_submit as submit_case
from workspace.services import case_void as void_case
from workspace.trail import case_viewed
from workspace.views.case_page import case_context, case_status

FILTER_LABELS = {
    "": "All",
    "urgent": "Urgent",
    "retake": "Retake",
    "failed": "Failed",
    "waiting": "In progress",
    "draft": "Drafts",
    "graded": "Graded",
}


TOO_LATE = (
    "What you entered last was not saved: this case was submitted or cancelled meanwhile, for "
    "instance in another window."
)


@signed_in
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Lead to the first page of a person's work: the worklist for everybody who sees records."""
    return redirect("accounts:start")


@member(Capability.SEE_RECORDS)
@require_safe
def case_list(request: HttpRequest) -> HttpResponse:
    state = request.GET.get("state", "")
    state = state if state in FILTER_LABELS else ""
    cases = partial(list_cases, state=state)
    context = {
        "section": "cases",
        "state": state,
        "state_label": FILTER_LABELS[state],
        "filters": FILTER_LABELS,
        "page": list_page(request, cases, state=state),
    }
    return render(request, "workspace/case_list.html", context)


@member(Capability.SEE_RECORDS)
@require_safe
def case_detail(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    case = access_case(request, pk)
    case_viewed(case, again="X-Background" in request.headers)
    return _case_page(request, case)


def _case_page(request: HttpRequest, case: Case, status: int = 200, **more) -> HttpResponse:
    context = {"section": "cases", **case_context(case), **more}
    return render(request, "workspace/case_detail.html", context, status=status)


@member(Capability.SEE_RECORDS, anonymous=NOT_FOUND)
@require_safe
def case_status_json(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    case = access_case(request, pk)
    case_viewed(case, again=True)
    return JsonResponse(case_status(case))


# A page that refuses an entry stays at the address of its form. Whoever then asks for that address
# again, by the address bar or a restored session, is led to the case.
FORM_PAGE = require_http_methods(["GET", "HEAD", "POST"])


@member(Capability.CAPTURE_CASES)
@FORM_PAGE
def case_details(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    case = access_case(request, pk)
    if request.method != "POST":
        return redirect("workspace:case-detail", case.pk)
    if not case.editable:
        return _too_late(request, case)
    refusal, _ = _save_details(request, case)
    if refusal is not None:
        return refusal
    messages.success(request, "The details are saved.")
    return redirect("workspace:case-detail", case.pk)


@member(Capability.CAPTURE_CASES)
@FORM_PAGE
def case_submit(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Save the details that came with the click, then submit; a second click changes nothing."""
    case = access_case(request, pk)
    if request.method != "POST":
        return redirect("workspace:case-detail", case.pk)
    if not case.editable:
        return _too_late(request, case)
    if "notes" in request.POST:
        refusal, case = _save_details(request, case)
        if refusal is not None:
            return refusal
    try:
        submit_case(case=case, by=request.user.name)
    except ServiceFault as fault:
        messages.error(request, fault.message)
    return redirect("workspace:case-detail", case.pk)


def _too_late(request: HttpRequest, case: Case) -> HttpResponse:
    """Lead to the case as it is; say so when words that came with the click are not in it."""
    form = CaseDetailsForm(request.POST, instance=access_case(request, case.pk))
    if "notes" in request.POST and form.has_changed():
        messages.error(request, TOO_LATE)
    return redirect("workspace:case-detail", case.pk)


def _save_details(request: HttpRequest, case: Case) -> tuple[HttpResponse | None, Case]:
    """Return the page to answer with when the details are refused, and the case as it is then."""
    # The form works on an instance of its own: a refused entry must not show as if it were saved.
    form = CaseDetailsForm(request.POST, instance=access_case(request, case.pk))
    if not form.is_valid():
        return _case_page(request, case, 422, details_form=form), case
    changed = {name: form.cleaned_data[name] for name in form.changed_data}
    if not changed:
        return None, case
    seen = whole_number(request.POST.get("version", ""))
    try:
        return None, case_amend(case=case, version=seen, values=changed)
    except ServiceFault as fault:
        form.add_error(None, fault.message)
        return _case_page(request, access_case(request, case.pk), 409, details_form=form), case


@member(Capability.CAPTURE_CASES)
@require_POST
def case_cancel(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    case = access_case(request, pk)
    form = CaseCancelForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say in a few words why this visit is cancelled.")
        return redirect("workspace:case-detail", case.pk)
    try:
        cancel_case(case=case, by=request.user.name, reason=form.cleaned_data["reason"])
    except ServiceFault as fault:
        messages.error(request, fault.message)
    return redirect("workspace:case-detail", case.pk)


@member(Capability.CAPTURE_CASES)
@require_POST
def case_void(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Mark a graded case as entered in error: it is of another patient, for instance."""
    case = access_case(request, pk)
    form = CaseVoidForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say in a few words what is wrong with this visit.")
        return redirect("workspace:case-detail", case.pk)
    try:
        void_case(case=case, by=request.user.name, reason=form.cleaned_data["reason"])
    except ServiceFault as fault:
        messages.error(request, fault.message)
    return redirect("workspace:case-detail", case.pk)


@member(Capability.CAPTURE_CASES)
@require_POST
def case_reinstate(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Take back that a case was entered in error."""
    case = access_case(request, pk)
    form = CaseReinstateForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say in a few words how you know that this visit was right.")
        return redirect("workspace:case-detail", case.pk)
    try:
        reinstate_case(case=case, by=request.user.name, reason=form.cleaned_data["reason"])
    except ServiceFault as fault:
        messages.error(request, fault.message)
    else:
        messages.success(request, "This visit counts again, as it did before it was marked.")
    return redirect("workspace:case-detail", case.pk)


@member(Capability.CAPTURE_CASES)
@require_POST
def case_end_retakes(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Refer a patient who can't be photographed again, so that no case waits for ever."""
    case = access_case(request, pk)
    form = RetakesEndForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say in a few words why the photographs can't be taken again.")
        return redirect("workspace:case-detail", case.pk)
    try:
        end_retakes(case=case, by=request.user.name, reason=form.cleaned_data["reason"])
    except ServiceFault as fault:
        messages.error(request, fault.message)
    return redirect("workspace:case-detail", case.pk)


@member(Capability.SEE_RECORDS, anonymous=NOT_FOUND)
@require_safe
def case_events(request: HttpRequest, pk: ObjectId) -> StreamingHttpResponse:
    case = access_case(request, pk)
    seen = whole_number(request.GET.get("seen", ""))
    return _event_response(case_stream(_listener(request), case.pk, seen))


@member(Capability.SEE_RECORDS, anonymous=NOT_FOUND)
@require_safe
def worklist_events(request: HttpRequest) -> StreamingHttpResponse:
    return _event_response(worklist_stream(_listener(request)))


def _listener(request: HttpRequest) -> Listener:
    hospital_id = access_membership(request).hospital_id
    return Listener(request.session.session_key, request.user.pk, hospital_id)


def _event_response(stream) -> StreamingHttpResponse:
    response = StreamingHttpResponse(stream, content_type="text/event-stream; charset=utf-8")
    response["Cache-Control"] = "no-store"
    # A proxy that buffers would hold events back until there are many.
    response["X-Accel-Buffering"] = "no"
    return response
