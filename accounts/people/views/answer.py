"""What whoever holds an invitation's link sees: whose it is, and how to accept."""

from django.contrib import messages
from django.contrib.auth import login, logout
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from accounts.access import public
from accounts.keys.sealing import UNREADABLE
from accounts.limits.middleware import above_limit
from accounts.models import Invitation, InvitationState, User
from accounts.open_sessions import SESSION_HOSPITAL
from accounts.pages import form_page, posted, require_form
from accounts.people.doors import SESSION_INVITATION, open_by_link, opened_invitation
from accounts.people.forms import InvitationAcceptForm
from accounts.people.services import invitation_accept, invitation_accept_as_new
from accounts.sign_in.first_factor import proof_keep
from accounts.sign_in.guesses import address_of, address_remember
from accounts.sign_in.selectors import INVITATION_PROOF

BACKEND = "django.contrib.auth.backends.ModelBackend"


@public
@require_safe
@never_cache
def invitation_link(request: HttpRequest, token: str) -> HttpResponse:
    """Take a link's token out of the address bar, and show what it is good for.

    Opening a link uses nothing up: programs that check mail for harmful links open them too.
    """
    if open_by_link(request, token):
        return redirect("accounts:invitation")
    return render(request, "accounts/invitation_over.html", status=400)


def _holds_invitation(request: HttpRequest) -> bool:
    invitation = opened_invitation(request)
    return invitation is not None and not _reason_it_is_over(invitation)


@public
@above_limit(lets_in=_holds_invitation)
@require_form
@sensitive_post_parameters()
@never_cache
def invitation_detail(request: HttpRequest) -> HttpResponse:
    """Show the invitation that was opened, and take the answer of whom it is for.

    Whoever isn't signed in sees the same whether or not the address has an account: an admin who
    hands an invitation over could open it, too.
    """
    invitation = opened_invitation(request)
    if invitation is None or _reason_it_is_over(invitation):
        return _over(request, invitation)
    if request.user.is_authenticated:
        return _as_somebody(request, invitation)
    return _as_new(request, invitation)


@public
@require_POST
@never_cache
def invitation_sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out whoever is signed in, and keep the invitation open for whom it is for."""
    token_hash = request.session.get(SESSION_INVITATION)
    logout(request)
    if token_hash:
        request.session[SESSION_INVITATION] = token_hash
    return redirect("accounts:invitation")


def _over(request: HttpRequest, invitation: Invitation | None) -> HttpResponse:
    reason = _reason_it_is_over(invitation) if invitation else ""
    context = {"invitation": invitation, "reason": reason}
    return render(request, "accounts/invitation_over.html", context, status=400)


def _reason_it_is_over(invitation: Invitation) -> str:
    """Return why an invitation can't be accepted, or nothing when it can."""
    if invitation.state != InvitationState.PENDING:
        return str(invitation.state)
    # With a destroyed key nobody can be held against the address that was invited.
    if not invitation.hospital.is_active or invitation.email == UNREADABLE:
        return "closed"
    return "expired" if invitation.is_expired else ""


def _as_somebody(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    if request.user.email != invitation.email:
        return _page(request, "accounts/invitation_for_another.html", invitation)
    error = ""
    if request.method == "POST":
        try:
            invitation_accept(invitation=invitation, user=request.user)
        except ValidationError as refusal:
            error = " ".join(refusal.messages)
        else:
            return _welcome(request, invitation)
    status = 422 if error else 200
    return _page(request, "accounts/invitation_accept.html", invitation, status, error=error)


def _as_new(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    # Not saved: it is what the password is compared with.
    somebody = User(email=invitation.email, name=invitation.name)
    form = InvitationAcceptForm(somebody, posted(request), initial={"name": invitation.name})
    if form.is_valid():
        chosen = form.cleaned_data
        try:
            user = invitation_accept_as_new(
                invitation=invitation, name=chosen["name"], password=chosen["new_password1"]
            )
        except ValidationError as refusal:
            form.add_error(None, refusal.messages)
        else:
            login(request, user, backend=BACKEND)
            address_remember(address=address_of(request), email=user.email)
            proof_keep(request, INVITATION_PROOF)
            return _welcome(request, invitation)
    return form_page(request, "accounts/invitation_join.html", form, invitation=invitation)


def _welcome(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    request.session.pop(SESSION_INVITATION, None)
    request.session[SESSION_HOSPITAL] = str(invitation.hospital_id)
    messages.success(request, f"Welcome to {invitation.hospital.name}.")
    return redirect("accounts:start")


def _page(
    request: HttpRequest, template: str, invitation: Invitation, status: int = 200, **context
) -> HttpResponse:
    return render(request, template, {"invitation": invitation, **context}, status=status)
