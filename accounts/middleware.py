"""Put the caller's memberships on the request, open their hospital's scope, end old sessions."""

import time
from contextlib import nullcontext
from datetime import timedelta

from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import rotate_token
from django.utils import timezone

from accounts.announcements import access_announce
from accounts.models import Membership
from accounts.open_sessions import (
    SESSION_BEGAN,
    SESSION_SEEN,
    SESSION_WORKED_IN,
    chosen_membership,
    is_over,
)
from accounts.scoping import hospital_scope
from accounts.selectors import memberships_of

# The session is written at most this often to say that its owner is still there.
SEEN_STEP_S = 60
LAST_SEEN_STEP = timedelta(minutes=5)
SIGNED_OUT = "You were signed out because nobody had used the page for a while."
NOT_SAVED = " What you sent just now was not saved: sign in and enter it again."


class SessionLimitMiddleware:
    """Sign people out who have not clicked for a while, and everybody after a day's work.

    Whatever ended or changed hands in a request is announced: pages that are still open elsewhere
    look again at once.
    """

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        caller_pk = request.user.pk
        if caller_pk is not None:
            _limit_session(request)
        response = self.get_response(request)
        if caller_pk is not None and request.user.pk != caller_pk:
            access_announce(caller_pk)
        return response


class HospitalScopeMiddleware:
    """Set `request.membership` (None for strangers) and hold the hospital's scope open.

    Memberships are read afresh on every request, so a deactivated person or a changed role
    counts from the next click on. `request.memberships` holds all that are valid right now.
    `request.has_moved` tells that the session worked in another hospital until now: what was
    entered there must not end up here.
    """

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.memberships = _memberships(request)
        request.membership = chosen_membership(request.session, request.memberships)
        request.has_moved = _has_moved(request)
        if request.has_moved:
            # Forms on pages that are still open from the other hospital are void.
            rotate_token(request)
        if request.membership and _is_click(request):
            _seen(request.membership)
        with _scope_for(request.membership):
            return self.get_response(request)


def _limit_session(request: HttpRequest) -> None:
    now_s = int(time.time())
    request.session.setdefault(SESSION_BEGAN, now_s)
    seen_s = request.session.setdefault(SESSION_SEEN, now_s)
    if is_over(request.session):
        logout(request)
        messages.info(request, SIGNED_OUT + (NOT_SAVED if request.method == "POST" else ""))
    elif now_s - seen_s > SEEN_STEP_S and _is_click(request):
        request.session[SESSION_SEEN] = now_s


def _is_click(request: HttpRequest) -> bool:
    # An open page listens for events and refreshes itself; neither shows that anybody is there.
    listens = request.headers.get("Accept") == "text/event-stream"
    return not listens and "X-Background" not in request.headers


def _seen(membership: Membership) -> None:
    """Remember that a member was here; written every few minutes at most."""
    now = timezone.now()
    if membership.last_seen_at is None or now - membership.last_seen_at > LAST_SEEN_STEP:
        Membership.objects.filter(pk=membership.pk).update(last_seen_at=now)


def _has_moved(request: HttpRequest) -> bool:
    if not request.user.is_authenticated:
        return False
    here = str(request.membership.hospital_id) if request.membership else ""
    before = request.session.get(SESSION_WORKED_IN, "")
    if here != before:
        request.session[SESSION_WORKED_IN] = here
    return before not in ("", here)


def _scope_for(membership: Membership | None):
    return hospital_scope(membership.hospital_id) if membership else nullcontext()


def _memberships(request: HttpRequest) -> list[Membership]:
    return memberships_of(request.user) if request.user.is_authenticated else []
