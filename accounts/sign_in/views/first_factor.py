"""Prove that it is one's own account, before it gets its first second factor."""

from allauth.account.decorators import reauthentication_required
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from accounts.access import signed_in
from accounts.pages import posted, require_form
from accounts.sign_in.destinations import safe_next
from accounts.sign_in.doors import paused_without_redis
from accounts.sign_in.first_factor import CODE_GOOD_FOR_S, code_mail, code_take, is_code_awaited
from accounts.sign_in.forms import MailedCodeForm
from accounts.sign_in.selectors import needs_mail_proof
from drservice.common.rate_limits import TooOften

WRONG_CODE = "This code is not right, or its time is over. Look again, or have a new one sent."
# With this one nothing leaves the machine, so there is no use in offering a mail.
NO_BACKEND = "django.core.mail.backends.dummy.EmailBackend"


@signed_in
@require_form
@paused_without_redis
@sensitive_post_parameters("code")
@never_cache
def first_factor(request: HttpRequest) -> HttpResponse:
    """Ask for the code that was mailed, and lead on to setting up with the right one."""
    if not needs_mail_proof(request):
        return redirect(_onward(request))
    form, status = MailedCodeForm(posted(request)), 200
    if form.is_bound:
        try:
            if form.is_valid() and code_take(request, form.cleaned_data["code"]):
                return redirect(_onward(request))
            status = 422
        except TooOften as fault:
            form.add_error(None, fault.message)
            status = 429
        if not form.errors:
            form.add_error("code", WRONG_CODE)
    return _page(request, form, status)


@signed_in
@require_POST
@paused_without_redis
@never_cache
@reauthentication_required(app="allauth.mfa")
def first_factor_mail(request: HttpRequest) -> HttpResponse:
    """Mail a code, or another one in its place, and lead to where it is entered."""
    if needs_mail_proof(request):
        try:
            code_mail(request)
        except TooOften as fault:
            messages.error(request, fault.message)
    onward = safe_next(request)
    address = reverse("accounts:first-factor")
    return redirect(f"{address}?{urlencode({'next': onward})}" if onward else address)


def _onward(request: HttpRequest) -> str:
    return safe_next(request) or resolve_url("mfa_index")


def _page(request: HttpRequest, form: MailedCodeForm, status: int) -> HttpResponse:
    is_awaited = is_code_awaited(request)
    form.fields["code"].widget.attrs["autofocus"] = is_awaited
    context = {
        "form": form,
        "next": safe_next(request),
        "is_awaited": is_awaited,
        "minutes": CODE_GOOD_FOR_S // 60,
        "sends_mail": settings.EMAIL_BACKEND != NO_BACKEND,
        "mail_reaches_people": settings.MAIL_REACHES_PEOPLE,
    }
    return render(request, "accounts/first_factor.html", context, status=status)
