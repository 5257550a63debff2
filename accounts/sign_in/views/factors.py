"""Three of allauth's views: two freed from a decorator, two that end the person's other sessions.

Django's `transaction.atomic` does nothing on MongoDB, but no real transaction can be committed
inside it, and the audit trail needs one for the event of each change.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from allauth.mfa.recovery_codes.internal.flows import generate_recovery_codes
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView
from allauth.mfa.totp.internal.flows import activate_totp
from allauth.mfa.totp.views import ActivateTOTPView
from allauth.mfa.webauthn.views import AddWebAuthnView
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.sign_in.selectors import has_second_factor
from accounts.sign_in.services import sessions_outdate


class AppAddView(ActivateTOTPView):
    def form_valid(self, form) -> HttpResponse:
        with _first_ends_other_sessions(self.request):
            _, codes = activate_totp.__wrapped__(self.request, form)
        return redirect("mfa_view_recovery_codes" if codes else "mfa_index")


class PasskeyAddView(AddWebAuthnView):
    def form_valid(self, form) -> HttpResponse:
        with _first_ends_other_sessions(self.request):
            return super().form_valid(form)


class CodesRenewView(GenerateRecoveryCodesView):
    def form_valid(self, form) -> HttpResponse:
        generate_recovery_codes.__wrapped__(self.request)
        return redirect("mfa_view_recovery_codes")


@contextmanager
def _first_ends_other_sessions(request: HttpRequest) -> Iterator[None]:
    """End the caller's other sessions when a first second factor was added.

    They began with the password alone. Whoever knew it could else wait in one of them until the
    person has set up a second factor, and go on without ever having shown one.
    """
    is_first = not has_second_factor(request.user)
    try:
        yield
    finally:
        # Also when the event of the recovery codes could not be kept, but the factor's was.
        if is_first and has_second_factor(request.user):
            sessions_outdate(user=request.user, except_key=request.session.session_key)
            update_session_auth_hash(request, request.user)
