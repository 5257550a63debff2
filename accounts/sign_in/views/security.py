"""What protects a person's account: second factors, recovery codes, and sessions."""

from bson import ObjectId
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.access import signed_in
from accounts.sign_in.selectors import (
    device_in_words,
    is_this_session,
    needs_mail_proof,
    second_factors_of,
    session_of,
    sessions_of,
)
from accounts.sign_in.services import session_end, sessions_end


@signed_in
@require_safe
def security(request: HttpRequest) -> HttpResponse:
    """Show what protects the account, and where to change it."""
    factors = second_factors_of(request.user)
    context = {
        "factors": factors,
        "must_add_factor": request.must_add_factor,
        "needs_mail_proof": needs_mail_proof(request),
    }
    return render(request, "accounts/security.html", context)


@signed_in
@require_safe
def session_list(request: HttpRequest) -> HttpResponse:
    """Show where the person is signed in."""
    rows = [
        {
            "session": session,
            "device": device_in_words(session.user_agent),
            "is_this": is_this_session(session, request),
        }
        for session in sessions_of(request.user)
    ]
    return render(request, "accounts/session_list.html", {"rows": rows})


@signed_in
@require_POST
def session_close(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """End one of the person's own sessions. Anybody else's is a 404, as one that never was."""
    session = session_of(request.user, pk)
    if session is None:
        raise Http404
    session_end(session=session)
    messages.success(request, "That session is ended. Whoever used it is signed out.")
    return redirect("accounts:session-list")


@signed_in
@require_POST
def session_close_others(request: HttpRequest) -> HttpResponse:
    """End all of the person's sessions but the one that asks."""
    sessions_end(user=request.user, except_key=request.session.session_key)
    update_session_auth_hash(request, request.user)
    messages.success(request, "You are signed out everywhere but here.")
    return redirect("accounts:session-list")
