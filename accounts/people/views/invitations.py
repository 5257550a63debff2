"""Invitations as a hospital's admin sees them: made, sent again, withdrawn."""

from functools import partial

from bson import ObjectId
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from accounts.access import access_membership, member
from accounts.keys.errors import KeyDestroyed
from accounts.models import Invitation, InvitationState, invited_hash
from accounts.pages import form_page, posted, require_form
from accounts.people.doors import access_invitation
from accounts.people.forms import InvitationForm
from accounts.people.mail import link_of, mail_write, mails_start
from accounts.people.selectors import invitation_list as list_invitations
from accounts.people.selectors import invitations_waiting, mail_counts
from accounts.people.services import (
    Issued,
    invitation_create,
    invitation_send_again,
)
from accounts.people.services import invitation_withdraw as withdraw_invitation
from accounts.permissions import Capability
from accounts.searches import search_of, search_results
from drservice.common.list_pages import list_page
from drservice.common.rate_limits import RateLimit, TooOften

# A mailbox is not to be filled in a hospital's name.
SENT = RateLimit(
    name="invitation",
    most=5,
    window_s=3600,
    refusal="This person was invited five times within an hour. Wait an hour and try again.",
)
INVITATIONS = {"section": "people", "tab": "invitations"}


@member(Capability.MANAGE_PEOPLE)
@require_form
def invitation_list(request: HttpRequest) -> HttpResponse:
    hospital = access_membership(request).hospital
    state = (posted(request) or request.GET).get("state", "")
    state = state if state in InvitationState.values else InvitationState.PENDING
    search = search_of(request)
    if results := search_results(request, search, state=state):
        return results
    rows = partial(list_invitations, hospital, state=state, search=search.words)
    context = {
        **INVITATIONS,
        "state": state,
        "states": InvitationState.choices,
        "search": search,
        "page": list_page(request, rows, search=search.id, state=state),
        "waiting": invitations_waiting(hospital),
        "mails": mail_counts(hospital),
    }
    return render(request, "accounts/invitation_list.html", context)


@member(Capability.MANAGE_PEOPLE)
@require_form
def invitation_new(request: HttpRequest) -> HttpResponse:
    """Invite somebody. What the page says is the same whether or not they have an account."""
    form = InvitationForm(posted(request))
    if form.is_valid():
        hospital = access_membership(request).hospital
        try:
            SENT.require_room(invited_hash(form.cleaned_data["email"], hospital.pk))
            issued = invitation_create(
                hospital=hospital,
                by=request.user,
                mail_from=mail_from(request),
                **form.cleaned_data,
            )
        except ValidationError as error:
            form.add_error(None, error.messages)
        except (KeyDestroyed, TooOften) as fault:
            form.add_error(None, fault.message)
        else:
            return _sent_page(request, issued)
    return form_page(request, "accounts/invitation_new.html", form, **INVITATIONS)


@member(Capability.MANAGE_PEOPLE)
@require_POST
def invitation_resend(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    invitation = access_invitation(request, pk)
    try:
        SENT.require_room(invitation.email_hash)
        issued = invitation_send_again(
            invitation=invitation, by_hand=invitation.by_hand, mail_from=mail_from(request)
        )
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("accounts:invitation-list")
    except TooOften as fault:
        messages.error(request, fault.message)
        return redirect("accounts:invitation-list")
    if invitation.by_hand:
        return first_password_page(request, issued)
    return _sent_page(request, issued)


@member(Capability.MANAGE_PEOPLE)
@require_POST
def invitation_withdraw(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    try:
        invitation = withdraw_invitation(invitation=access_invitation(request, pk))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"The invitation of {invitation.name} is withdrawn.")
    return redirect("accounts:invitation-list")


def mail_from(request: HttpRequest) -> str:
    """Return with what the links begin that workers mail; nothing where mail reaches nobody."""
    return _origin(request) if settings.MAIL_REACHES_PEOPLE else ""


def links_to_hand_over(request: HttpRequest, issued: list[Issued]) -> list[tuple[Invitation, str]]:
    """Have mailed what was issued; where mail reaches nobody return the links instead.

    The links exist only in this answer: what is stored can't bring them back.
    """
    if settings.MAIL_REACHES_PEOPLE:
        mails_start(len(issued))
        return []
    origin = _origin(request)
    for one in issued:
        mail_write(issued=one, origin=origin)
    return [(one.invitation, link_of(origin, one.token)) for one in issued]


def _origin(request: HttpRequest) -> str:
    return request.build_absolute_uri("/").removesuffix("/")


def first_password_page(request: HttpRequest, issued: Issued) -> HttpResponse:
    """Show a first password, and the link for whoever is signed in: now and never again."""
    context = {
        **INVITATIONS,
        "invitation": issued.invitation,
        "password": issued.token,
        "link": link_of(_origin(request), issued.token),
    }
    return render(request, "accounts/member_created.html", context)


def _sent_page(request: HttpRequest, issued: Issued) -> HttpResponse:
    SENT.count(issued.invitation.email_hash)
    context = {
        **INVITATIONS,
        "invitation": issued.invitation,
        "links": links_to_hand_over(request, [issued]),
    }
    return render(request, "accounts/invitation_sent.html", context)
