"""What operators do with a hospital: add it, bring in its admins, and change it with a reason."""

from bson import ObjectId
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url

from accounts.access import operator
from accounts.hospital_services import hospital_close as close_hospital
from accounts.hospital_services import hospital_open as open_hospital
from accounts.hospital_services import hospital_rename as rename_hospital
from accounts.hospital_services import hospital_set_mfa
from accounts.limits.selectors import usage_of
from accounts.models import Hospital
from accounts.pages import form_page, posted, require_form
from accounts.people.services import Issued
from accounts.people.views.invitations import links_to_hand_over, mail_from
from drservice.operators.access import access_hospital
from drservice.operators.acts import Act, act_page
from drservice.operators.forms import (
    AdminInviteForm,
    HospitalCreateForm,
    HospitalLimitsForm,
    HospitalRenameForm,
    HospitalRulesForm,
    ReasonForm,
)
from drservice.operators.services import admin_invite, hospital_add, hospital_limit
from drservice.operators.views.hospitals import HOSPITALS


@operator
@require_form
def hospital_create(request: HttpRequest) -> HttpResponse:
    """Make a hospital and invite its first admin."""
    form = HospitalCreateForm(posted(request))
    if form.is_valid():
        try:
            issued = hospital_add(
                **form.cleaned_data, by=request.user, mail_from=mail_from(request)
            )
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            return _invited_page(request, issued)
    return form_page(request, "operators/hospital_create.html", form, section=HOSPITALS)


@operator
@require_form
def hospital_invite_admin(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Invite an admin, for a hospital that has none left or whose invitation got lost."""
    hospital = access_hospital(pk)
    form = AdminInviteForm(posted(request))
    if form.is_valid():
        try:
            issued = admin_invite(
                hospital=hospital,
                by=request.user,
                mail_from=mail_from(request),
                **form.cleaned_data,
            )
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            return _invited_page(request, issued)
    context = {"section": HOSPITALS, "invites_to": hospital}
    return form_page(request, "operators/admin_invite.html", form, **context)


@operator
@require_form
def hospital_rename(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    hospital = access_hospital(pk)
    form = HospitalRenameForm(posted(request), initial={"name": hospital.name}, button="Rename")
    act = _act(
        hospital,
        title=f"Rename {hospital.name}",
        explanation="Its people see the new name from their next click on.",
        done="The hospital has its new name.",
    )
    return act_page(request, act, form, lambda said: rename_hospital(hospital=hospital, **said))


@operator
@require_form
def hospital_rules(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    hospital = access_hospital(pk)
    form = HospitalRulesForm(posted(request), initial={"mfa_required": hospital.mfa_required})
    act = _act(
        hospital,
        title=f"Rules for {hospital.name}",
        explanation="They count from everybody's next click on.",
        done="The rules are saved.",
    )
    return act_page(request, act, form, lambda said: hospital_set_mfa(hospital=hospital, **said))


@operator
@require_form
def hospital_limits(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    """Say how much a hospital may upload."""
    hospital = access_hospital(pk)
    usage = usage_of(hospital.pk)
    form = HospitalLimitsForm.for_usage(usage, posted(request), button="Save")
    act = _act(
        hospital,
        title=f"Limits for {hospital.name}",
        explanation="They count from the next photograph on. Nothing that is stored is lost.",
        done="The limits are saved.",
    )

    def limit(said: dict) -> None:
        hospital_limit(hospital=hospital, limits=form.limits(), reason=said["reason"])

    return act_page(request, act, form, limit)


@operator
@require_form
def hospital_close(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    hospital = access_hospital(pk)
    form = ReasonForm(posted(request), button="Close the hospital")
    act = _act(
        hospital,
        title=f"Close {hospital.name}?",
        explanation="Nobody works there from their next click on. Its records stay as they are, "
        "cases that wait are still graded, and you can open it again.",
        done=f"{hospital.name} is closed.",
    )
    return act_page(request, act, form, lambda said: close_hospital(hospital=hospital, **said))


@operator
@require_form
def hospital_open(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    hospital = access_hospital(pk)
    form = ReasonForm(posted(request), button="Open the hospital")
    act = _act(
        hospital,
        title=f"Open {hospital.name} again?",
        explanation="Its people can work there again, in the roles that they had.",
        done=f"{hospital.name} is open again.",
    )
    return act_page(request, act, form, lambda said: open_hospital(hospital=hospital, **said))


def _invited_page(request: HttpRequest, issued: Issued) -> HttpResponse:
    """Have an invitation mailed; where mail reaches nobody show its link, now and never again."""
    links = links_to_hand_over(request, [issued])
    context = {"section": HOSPITALS, "invitation": issued.invitation, "links": links}
    return render(request, "operators/admin_invited.html", context)


def _act(hospital: Hospital, **words: str) -> Act:
    back = resolve_url("operators:hospital-detail", hospital.pk)
    return Act(HOSPITALS, back=back, back_words=hospital.name, **words)
