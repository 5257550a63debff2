"""Two of allauth's views, freed from a decorator.

Django's `transaction.atomic` does nothing on MongoDB, but no real transaction can be committed
inside it, and the audit trail needs one for the event of each change.
"""

from allauth.mfa.recovery_codes.internal.flows import generate_recovery_codes
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView
from allauth.mfa.totp.internal.flows import activate_totp
from allauth.mfa.totp.views import ActivateTOTPView
from django.http import HttpResponse
from django.shortcuts import redirect


class AppAddView(ActivateTOTPView):
    def form_valid(self, form) -> HttpResponse:
        _, codes = activate_totp.__wrapped__(self.request, form)
        return redirect("mfa_view_recovery_codes" if codes else "mfa_index")


class CodesRenewView(GenerateRecoveryCodesView):
    def form_valid(self, form) -> HttpResponse:
        generate_recovery_codes.__wrapped__(self.request)
        return redirect("mfa_view_recovery_codes")
