"""Where a person's work begins, and a hospital's people."""

from bson import ObjectId
from bson.errors import InvalidId
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from accounts.access import access_colleague, access_membership, member, signed_in, still_to_do
from accounts.announcements import access_announce
from accounts.forms import MemberCreateForm, MemberUpdateForm
from accounts.models import Membership
from accounts.open_sessions import SESSION_HOSPITAL
from accounts.pages import form_page, posted, require_form
from accounts.permissions import Capability
from accounts.selectors import member_list as members_of
from accounts.services import (
    member_add,
    membership_activate,
    membership_deactivate,
    membership_update,
)

# The part of the navigation that these pages belong to.
PEOPLE = "people"


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
def member_list(request: HttpRequest) -> HttpResponse:
    hospital = access_membership(request).hospital
    context = {"section": PEOPLE, "members": members_of(hospital)}
    return render(request, "accounts/member_list.html", context)


@member(Capability.MANAGE_PEOPLE)
@require_form
def member_create(request: HttpRequest) -> HttpResponse:
    """Add somebody, and show their first password: now and never again."""
    form = MemberCreateForm(posted(request))
    if form.is_valid():
        try:
            added, password = member_add(
                hospital=access_membership(request).hospital, **form.cleaned_data
            )
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            email = form.cleaned_data["email"]
            context = {"section": PEOPLE, "added": added, "email": email, "password": password}
            return render(request, "accounts/member_created.html", context)
    return form_page(request, "accounts/member_create.html", form, section=PEOPLE)


@member(Capability.MANAGE_PEOPLE)
@require_form
def member_update(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    colleague = access_colleague(request, pk)
    form = MemberUpdateForm.for_membership(colleague, posted(request))
    if form.is_valid():
        try:
            membership_update(membership=colleague, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            messages.success(request, f"{colleague.name} is saved.")
            return _back_to_people(request, colleague)
    context = {"section": PEOPLE, "colleague": colleague}
    return form_page(request, "accounts/member_update.html", form, **context)


@member(Capability.MANAGE_PEOPLE)
@require_POST
def member_deactivate(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    colleague = access_colleague(request, pk)
    try:
        membership_deactivate(membership=colleague)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"{colleague.name} can't enter this hospital any more.")
    return _back_to_people(request, colleague)


@member(Capability.MANAGE_PEOPLE)
@require_POST
def member_activate(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    colleague = membership_activate(membership=access_colleague(request, pk))
    messages.success(request, f"{colleague.name} can enter this hospital again.")
    return redirect("accounts:member-list")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form whose security token is missing or old: say what to do, keep nothing."""
    return render(request, "accounts/csrf_failure.html", status=403)


def _back_to_people(request: HttpRequest, changed: Membership) -> HttpResponse:
    # Who has changed their own place may not see the people any more.
    own = changed.pk == access_membership(request).pk
    return redirect("accounts:start" if own else "accounts:member-list")


def _object_id(text: str) -> ObjectId | None:
    try:
        return ObjectId(text)
    except InvalidId:
        return None
