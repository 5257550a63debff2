"""Signing in and out, and a hospital's people."""

import logging

from bson import ObjectId
from bson.errors import InvalidId
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from redis.exceptions import RedisError

from accounts.access import access_colleague, access_membership, member, public, signed_in
from accounts.forms import MemberCreateForm, MemberUpdateForm, PasswordChangeForm, SignInForm
from accounts.middleware import SESSION_HOSPITAL
from accounts.models import Membership
from accounts.permissions import Capability
from accounts.selectors import member_list as members_of
from accounts.services import (
    member_add,
    membership_activate,
    membership_deactivate,
    membership_update,
    user_set_password,
)

# The part of the navigation that these pages belong to.
PEOPLE = "people"

log = logging.getLogger(__name__)

require_form = require_http_methods(["GET", "HEAD", "POST"])

WRONG_CREDENTIALS = (
    "This e-mail and password don't fit together, or the account is not in use. "
    "Check both, or ask your hospital's admin."
)

OPERATOR_COMMANDS = {
    "hospital_create": "Makes a hospital and its first admin, who adds everybody else.",
    "hospital_close": "Closes a hospital to its members, or opens it again.",
    "password_reset": "Gives somebody who forgot their password a new first one.",
    "createsuperuser": "Makes another platform operator.",
    "doctor": "Checks every part of this installation and names each cure.",
}


@public
@require_form
@sensitive_post_parameters("password")
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    """Let a person in who knows their password, and lead them to where they were going."""
    if request.user.is_authenticated:
        return redirect(_destination(request))
    form = SignInForm(_posted(request))
    if form.is_valid():
        try:
            if _let_in(request, form.cleaned_data):
                return redirect(_destination(request))
        except RedisError:
            # Without the count of failures nobody gets in: guessing must never be free.
            return render(request, "accounts/sign_in_paused.html", status=503)
        form.add_error(None, WRONG_CREDENTIALS)
    context = {"form": form, "next": _safe_next(request)}
    return render(request, "accounts/sign_in.html", context, status=400 if form.errors else 200)


def sign_in_locked(request: HttpRequest, *credentials, **kwargs) -> HttpResponse:
    """Answer a sign-in after too many wrong passwords."""
    log.warning("sign_in_locked address=%s", request.META.get("REMOTE_ADDR"))
    context = {
        "failures": settings.AXES_FAILURE_LIMIT,
        "minutes": round(settings.AXES_COOLOFF_TIME * 60),
    }
    return render(request, "accounts/sign_in_locked.html", context, status=429)


@signed_in
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    messages.info(request, "You are signed out.")
    return redirect(settings.LOGOUT_REDIRECT_URL)


@signed_in
@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """Lead a person to the first page of their work, or say what they can do without a hospital."""
    if request.user.must_change_password:
        return redirect("accounts:password-change")
    if request.user.is_operator:
        return render(request, "accounts/start_operator.html", {"commands": OPERATOR_COMMANDS})
    if request.membership is None:
        return render(request, "accounts/start_no_hospital.html")
    if request.membership.can(Capability.SEE_RECORDS):
        return redirect("workspace:case-list")
    return redirect("accounts:member-list")


@signed_in
@require_form
@sensitive_post_parameters()
def password_change(request: HttpRequest) -> HttpResponse:
    """Let a person choose a password; the first one, which others have seen, must go."""
    form = PasswordChangeForm(request.user, _posted(request))
    if form.is_valid():
        password = form.cleaned_data["new_password1"]
        user = user_set_password(user=request.user, password=password)
        update_session_auth_hash(request, user)
        messages.success(request, "Your password is changed.")
        return redirect("accounts:start")
    return _form_page(request, "accounts/password_change.html", form)


@signed_in
@require_POST
def hospital_switch(request: HttpRequest) -> HttpResponse:
    """Go on in another of the person's hospitals. Any other hospital is the 404 of a stranger."""
    wanted = _object_id(request.POST.get("hospital", ""))
    if wanted not in {membership.hospital_id for membership in request.memberships}:
        raise Http404
    request.session[SESSION_HOSPITAL] = str(wanted)
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
    form = MemberCreateForm(_posted(request))
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
    return _form_page(request, "accounts/member_create.html", form, section=PEOPLE)


@member(Capability.MANAGE_PEOPLE)
@require_form
def member_update(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    colleague = access_colleague(request, pk)
    form = MemberUpdateForm.for_membership(colleague, _posted(request))
    if form.is_valid():
        try:
            membership_update(membership=colleague, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            messages.success(request, f"{colleague.name} is saved.")
            return _back_to_people(request, colleague)
    context = {"section": PEOPLE, "colleague": colleague}
    return _form_page(request, "accounts/member_update.html", form, **context)


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


def _let_in(request: HttpRequest, credentials: dict) -> bool:
    user = authenticate(request, **credentials)
    if user is None:
        log.info("sign_in_failed address=%s", request.META.get("REMOTE_ADDR"))
        return False
    login(request, user)
    return True


def _back_to_people(request: HttpRequest, changed: Membership) -> HttpResponse:
    # Who has changed their own place may not see the people any more.
    own = changed.pk == access_membership(request).pk
    return redirect("accounts:start" if own else "accounts:member-list")


def _form_page(request: HttpRequest, template: str, form, **context) -> HttpResponse:
    status = 422 if form.errors else 200
    return render(request, template, {"form": form, **context}, status=status)


def _posted(request: HttpRequest) -> QueryDict | None:
    """Return what a form sent; None, which leaves a form unbound, when none was sent."""
    return request.POST if request.method == "POST" else None


def _destination(request: HttpRequest) -> str:
    return _safe_next(request) or resolve_url(settings.LOGIN_REDIRECT_URL)


def _safe_next(request: HttpRequest) -> str:
    """Return the page to go on to, or nothing when it is not an address of this very service."""
    wanted = request.POST.get("next", request.GET.get("next", ""))
    allowed = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if allowed else ""


def _object_id(text: str) -> ObjectId | None:
    try:
        return ObjectId(text)
    except InvalidId:
        return None
