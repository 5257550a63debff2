"""Pages for auditors: the events of their hospital's chain, as a table, and its head."""

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import access_membership, member
from accounts.audit import store
from accounts.audit.actions import Action
from accounts.audit.selectors import events_told
from accounts.audit.services import audit_record, audit_view
from accounts.audit.verification import head_place
from accounts.audit_pages.filters import AuditFilterForm, AuditSearchForm
from accounts.audit_pages.table import event_rows
from accounts.models import Hospital
from accounts.pages import require_form
from accounts.permissions import Capability
from drservice.common.list_pages import address_of, query_of

SECTION = "audit"
PAGE_SIZE = 50
MAX_DIGITS = 15


@member(Capability.READ_AUDIT)
@require_form
def audit_list(request: HttpRequest) -> HttpResponse:
    """Show what was seen, done and refused at the hospital, newest first.

    The form is sent in a body, for somebody might type a name into it. What it asks for goes on in
    the address, as ids.
    """
    hospital = access_membership(request).hospital
    form = _form(request, hospital)
    if request.method == "POST" and form.is_valid():
        return redirect(address_of(request.path, **form.in_words()))
    # Who reads the trail sees patients: that is kept too, once while they go from page to page.
    audit_view(subject_kind="audit", subject_id="trail", again=True)
    below = _number(request.GET.get("below", ""))
    found = store.events_newest(hospital.pk, form.where(), below=below, count=PAGE_SIZE + 1)
    context = {
        "section": SECTION,
        "form": form,
        "filtered": form.is_valid() and bool(form.in_words()),
        "events": events_told(found[:PAGE_SIZE], hospital_id=hospital.pk),
        "older": _query_of(form, found[PAGE_SIZE - 1].seq) if len(found) > PAGE_SIZE else "",
        "is_first": below is None,
        "query": _query_of(form),
        "head": head_place(hospital.pk),
    }
    return render(request, "accounts/audit_list.html", context, status=_status(form))


@member(Capability.READ_AUDIT)
@require_safe
def audit_export(request: HttpRequest) -> HttpResponse:
    """Hand out all events that a filter finds; that this was done is the last of them."""
    hospital = access_membership(request).hospital
    form = AuditFilterForm(request.GET, hospital=hospital)
    if not form.is_valid():
        context = {"section": SECTION, "form": form, "head": head_place(hospital.pk)}
        return render(request, "accounts/audit_list.html", context, status=400)
    exported = audit_record(
        action=Action.EXPORT,
        subject_kind="audit",
        subject_id="trail",
        after=form.in_words(),
    )
    rows = event_rows(hospital.pk, form.where(), up_to=exported.seq)
    response = StreamingHttpResponse(rows, content_type="text/csv; charset=utf-8")
    return _attached(response, "csv")


@member(Capability.READ_AUDIT)
@require_safe
def audit_head(request: HttpRequest) -> HttpResponse:
    """Hand out where the chain ends now, to be kept where nobody who runs the service can write."""
    hospital = access_membership(request).hospital
    text = f"{hospital.name}\n{timezone.now():%Y-%m-%d %H:%M:%S} UTC\n{head_place(hospital.pk)}\n"
    return _attached(HttpResponse(text, content_type="text/plain; charset=utf-8"), "txt")


def _attached(response: HttpResponse, suffix: str) -> HttpResponse:
    name = f"audit-{timezone.now():%Y%m%d-%H%M}.{suffix}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


def _status(form: AuditFilterForm) -> int:
    return 200 if form.is_valid() else 400


def _form(request: HttpRequest, hospital: Hospital) -> AuditFilterForm:
    if request.method == "POST":
        return AuditSearchForm(request.POST, hospital=hospital)
    return AuditFilterForm(request.GET, hospital=hospital)


def _query_of(form: AuditFilterForm, below: int | None = None) -> str:
    """Return the query of another page of the same filter."""
    return query_of(**form.in_words(), below=below) if form.is_valid() else ""


def _number(text: str) -> int | None:
    plain = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if plain else None
