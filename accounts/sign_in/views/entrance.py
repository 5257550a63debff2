"""Signing in and out, and choosing a password."""

import logging
import time

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout, update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from accounts.access import public, signed_in
from accounts.limits.middleware import above_limit, anybody, too_often
from accounts.models import User
from accounts.pages import form_page, posted, require_form
from accounts.people.doors import open_by_first_password
from accounts.services import user_set_password
from accounts.sign_in.destinations import destination, safe_next
from accounts.sign_in.doors import paused_without_redis
from accounts.sign_in.forms import PasswordChangeForm, SignInForm
from accounts.sign_in.guesses import password_checked
from drservice.common.rate_limits import TooOften

log = logging.getLogger(__name__)

WRONG_CREDENTIALS = (
    "This e-mail and password don't fit together, or the account is not in use. "
    "Check both, or ask your hospital's admin."
)


# No refusal comes sooner than this: else its time would tell whether a password was looked at,
# and so who signs in from that address usually. A thread that waits costs less than a hash.
REFUSED_AFTER_S = 0.5


@public
@above_limit(lets_in=anybody)
@require_form
@paused_without_redis
@sensitive_post_parameters("password")
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    """Let a person in who knows their password, and lead them to where they were going.

    A first password that an admin handed over opens the invitation that it was made for. From an
    address that is above its limit only whoever signs in there usually, and is right, gets in.
    """
    began_s = time.monotonic()
    if request.user.is_authenticated:
        return redirect(destination(request))
    form = SignInForm(posted(request))
    if form.is_valid():
        if open_by_first_password(request, **form.cleaned_data):
            return redirect("accounts:invitation")
        try:
            user = password_checked(request, **form.cleaned_data, over_limit=request.over_limit)
        except TooOften as fault:
            return _refused(request, form, fault, began_s)
        if user is not None:
            return _go_on(request, user)
        log.info("sign_in_failed address=%s", request.META.get("REMOTE_ADDR"))
        form.add_error(None, WRONG_CREDENTIALS)
    elif request.over_limit:
        return too_often(request, request.over_limit)
    context = {"form": form, "next": safe_next(request), "oidc_name": settings.OIDC_NAME}
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
    response = redirect(settings.LOGOUT_REDIRECT_URL)
    # Photographs that this browser keeps, to ask at the door before it shows them again.
    response["Clear-Site-Data"] = '"cache", "storage"'
    return response


@signed_in
@require_form
@sensitive_post_parameters()
def password_change(request: HttpRequest) -> HttpResponse:
    """Let a person choose a password; the first one, which others have seen, must go."""
    form = PasswordChangeForm(request.user, posted(request))
    if form.is_valid():
        password = form.cleaned_data["new_password1"]
        user = user_set_password(user=request.user, password=password)
        update_session_auth_hash(request, user)
        get_adapter(request).send_notification_mail("account/email/password_changed", user)
        messages.success(request, "Your password is changed.")
        return redirect("accounts:start")
    return form_page(request, "accounts/password_change.html", form)


def _refused(
    request: HttpRequest, form: SignInForm, fault: TooOften, began_s: float
) -> HttpResponse:
    """Answer the same, at the same time, whether or not the password was looked at."""
    # The page of the lock would tell that it was.
    request.axes_locked_out = False
    time.sleep(max(0.0, began_s + REFUSED_AFTER_S - time.monotonic()))
    if fault is request.over_limit:
        return too_often(request, fault)
    form.add_error(None, fault.message)
    context = {"form": form, "next": safe_next(request), "oidc_name": settings.OIDC_NAME}
    return render(request, "accounts/sign_in.html", context, status=429)


def _go_on(request: HttpRequest, user: User) -> HttpResponse:
    """Let a person in whose password was right, or ask for their second factor first."""
    login = Login(user=user, redirect_url=destination(request))
    return perform_password_login(request, {}, login)
