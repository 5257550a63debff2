"""A hospital's people: finding, adding, changing, deactivating, and handing over."""

from bson import ObjectId
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import access_colleague, access_membership, member
from accounts.forms import MemberCreateForm, MemberUpdateForm
from accounts.models import Membership, User
from accounts.pages import form_page, posted, require_form
from accounts.people.forms import AdminTransferForm, MemberFilterForm
from accounts.people.selectors import invitations_waiting, members_found
from accounts.people.services import invitation_create
from accounts.people.views.invitations import first_password_page
from accounts.permissions import Capability
from accounts.searches import search_of, search_results
from accounts.services import (
    admin_transfer,
    membership_activate,
    membership_deactivate,
    membership_update,
    user_end_sessions,
)
from drservice.common.list_pages import list_page

# The part of the navigation that these pages belong to, and their own tabs.
PEOPLE = {"section": "people", "tab": "people"}


@member(Capability.MANAGE_PEOPLE)
@require_form
def member_list(request: HttpRequest) -> HttpResponse:
    hospital = access_membership(request).hospital
    form = MemberFilterForm(posted(request) or request.GET)
    search, chosen = search_of(request), form.chosen()
    if results := search_results(request, search, **chosen):
        return results
    wanted = form.wanted(search.words)
    found = members_found(hospital, wanted)
    context = {
        **PEOPLE,
        "form": form,
        "search": search,
        "is_narrowed": bool(wanted),
        "found": len(found),
        "page": list_page(
            request,
            lambda start, count: found[start : start + count],
            search=search.id,
            **chosen,
        ),
        "waiting": invitations_waiting(hospital),
    }
    return render(request, "accounts/member_list.html", context)


@member(Capability.MANAGE_PEOPLE)
@require_form
def member_create(request: HttpRequest) -> HttpResponse:
    """Add somebody by a first password. They are a member once they have come in with it.

    What the page says is the same whether or not they have an account.
    """
    form = MemberCreateForm(posted(request))
    if form.is_valid():
        try:
            issued = invitation_create(
                hospital=access_membership(request).hospital,
                by=request.user,
                by_hand=True,
                **form.cleaned_data,
            )
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            return first_password_page(request, issued)
    return form_page(request, "accounts/member_create.html", form, **PEOPLE)


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
    context = {**PEOPLE, "colleague": colleague, "email": colleague.user.email}
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


@member(Capability.MANAGE_PEOPLE)
@require_POST
def member_sign_out(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """End every session of a colleague, for instance when their telephone is lost."""
    colleague = access_colleague(request, pk)
    if colleague.last_seen_at is None:
        # Perhaps added before people were asked: what they do elsewhere is not for this admin.
        messages.info(
            request, f"{colleague.name} has never worked here, so there is nothing to end."
        )
        return _back_to_people(request, colleague)
    user_end_sessions(user=User.objects.get(pk=colleague.user_id))
    messages.success(request, f"{colleague.name} is signed out everywhere.")
    return _back_to_people(request, colleague)


@member(Capability.MANAGE_PEOPLE)
@require_form
def member_transfer(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Make a colleague the admin and step down, in one act."""
    colleague, giver = access_colleague(request, pk), access_membership(request)
    form = AdminTransferForm(posted(request), initial={"roles": giver.roles})
    if form.is_valid():
        try:
            admin_transfer(
                membership=colleague, giver=giver, giver_roles=form.cleaned_data["roles"]
            )
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            messages.success(request, f"{colleague.name} is an admin now, and you are not.")
            return redirect("accounts:start")
    return form_page(request, "accounts/member_transfer.html", form, **PEOPLE, colleague=colleague)


def _back_to_people(request: HttpRequest, changed: Membership) -> HttpResponse:
    # Who has changed their own place may not see the people any more.
    own = changed.pk == access_membership(request).pk
    return redirect("accounts:start" if own else "accounts:member-list")
