"""Say who acts during a request, keep what was refused, and stop when nothing can be kept."""

import logging

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.audit.actions import Action
from accounts.audit.actors import Actor, acting_as, anonymous, person
from accounts.audit.errors import AuditUnavailable
from accounts.audit.services import audit_record

log = logging.getLogger(__name__)

REFUSALS = {403: "not allowed", 404: "not found, or another hospital's"}


class AuditMiddleware:
    """Open the caller as the actor of all events, within the scope of their hospital.

    A refusal of somebody who has signed in is an event of its own. Where an event can't be
    written, the answer is 503 and nothing else: neither the change nor the page.
    """

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with acting_as(actor_of(request)):
            response = self.get_response(request)
            return self._with_refusal_kept(request, response)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return _unavailable(request, error) if isinstance(error, AuditUnavailable) else None

    def _with_refusal_kept(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if not _is_refusal(request, response):
            return response
        try:
            _refusal_record(request, response.status_code)
        except AuditUnavailable as error:
            return _unavailable(request, error)
        return response


def actor_of(request: HttpRequest) -> Actor:
    """Return the actor that a request's sender is."""
    address = request.META.get("REMOTE_ADDR", "")
    user = getattr(request, "user", None)
    return person(user, address=address) if user and user.is_authenticated else anonymous(address)


def _is_refusal(request: HttpRequest, response: HttpResponse) -> bool:
    """Tell a door that stayed shut from an address that leads nowhere."""
    return (
        response.status_code in REFUSALS
        and request.resolver_match is not None
        and request.user.is_authenticated
    )


def _refusal_record(request: HttpRequest, status: int) -> None:
    """Keep what was asked for: the kind of page and the ids in its address, nothing typed."""
    asked = request.resolver_match
    audit_record(
        action=Action.DENIED,
        subject_kind=asked.view_name[:40],
        subject_id=" ".join(str(value) for value in asked.kwargs.values())[:80],
        after={"method": request.method, "answer": status},
        reason=REFUSALS[status],
    )


def _unavailable(request: HttpRequest, error: AuditUnavailable) -> HttpResponse:
    log.error("audit_unavailable view=%s cause=%s", _view_name(request), _cause(error))
    response = render(request, "503.html", status=503)
    response["Retry-After"] = "30"
    response["Cache-Control"] = "no-store"
    return response


def _view_name(request: HttpRequest) -> str:
    return request.resolver_match.view_name if request.resolver_match else ""


def _cause(error: AuditUnavailable) -> str:
    return type(error.__cause__).__name__ if error.__cause__ else str(error)
