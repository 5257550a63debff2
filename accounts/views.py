"""Where a person's work begins, and in which hospital."""

from bson import ObjectId
from bson.errors import InvalidId
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.access import access_membership, member, signed_in, still_to_do
from accounts.announcements import access_announce
from accounts.limits.selectors import usage_of
from accounts.open_sessions import SESSION_HOSPITAL
from accounts.permissions import Capability


@signed_in
@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """Lead a person to the first page of their work, or say what they can do without a hospital."""
    unfinished = still_to_do(request)
    if unfinished:
        return unfinished
    if request.user.is_operator:
        return redirect("operators:hospital-list")
    if request.membership is None:
        return render(request, "accounts/start_no_hospital.html")
    if request.membership.can(Capability.SEE_RECORDS):
        return redirect("workspace:case-list")
    return redirect("accounts:member-list")


@signed_in
@require_POST
def hospital_switch(request: HttpRequest) -> HttpResponse:
    """Go on in another of the person's hospitals. Any other hospital is the 404 of a stranger."""
    wanted = _object_id(request.POST.get("hospital", ""))
    if wanted not in {membership.hospital_id for membership in request.memberships}:
        raise Http404
    request.session[SESSION_HOSPITAL] = str(wanted)
    # Saved before it is announced: what is open of the other hospital looks at once.
    request.session.save()
    access_announce(request.user.pk)
    return redirect("accounts:start")


@member(Capability.MANAGE_PEOPLE)
@require_safe
def usage_detail(request: HttpRequest) -> HttpResponse:
    """Show how many photographs the hospital has added, and how many more it may."""
    usages = usage_of(access_membership(request).hospital_id)
    return render(request, "accounts/usage_detail.html", {"section": "usage", "usages": usages})


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form whose security token is missing or old: say what to do, keep nothing."""
    return render(request, "accounts/csrf_failure.html", status=403)


def _object_id(text: str) -> ObjectId | None:
    try:
        return ObjectId(text)
    except InvalidId:
        return None
