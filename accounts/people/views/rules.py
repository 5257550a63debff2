"""What a hospital asks of everybody who works there."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.access import access_membership, member
from accounts.hospital_services import hospital_set_mfa
from accounts.pages import form_page, posted, require_form
from accounts.people.forms import SecondFactorRuleForm
from accounts.people.selectors import members_without_mfa
from accounts.permissions import Capability

RULES = {"section": "people", "tab": "rules"}


@member(Capability.MANAGE_PEOPLE)
@require_form
def hospital_rules(request: HttpRequest) -> HttpResponse:
    hospital = access_membership(request).hospital
    initial = {"mfa_required": hospital.mfa_required}
    form = SecondFactorRuleForm(posted(request), initial=initial)
    if form.is_valid():
        hospital_set_mfa(hospital=hospital, reason="", **form.cleaned_data)
        messages.success(request, "Saved. It counts from everybody's next click on.")
        return redirect("accounts:hospital-rules")
    context = {**RULES, "without": members_without_mfa(hospital)}
    return form_page(request, "accounts/hospital_rules.html", form, **context)
