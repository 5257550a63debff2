"""Hospitals as operators see them: names, states and numbers."""

import datetime as dt
from dataclasses import dataclass

from bson import ObjectId
from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.views.decorators.http import require_safe

from accounts.access import operator
from accounts.audit.chain_states import chain_states
from accounts.hospital_services import hospital_add, hospital_set_mfa
from accounts.hospital_services import hospital_close as close_hospital
from accounts.hospital_services import hospital_open as open_hospital
from accounts.hospital_services import hospital_rename as rename_hospital
from accounts.keys.selectors import KeyState, key_states
from accounts.models import Hospital
from accounts.pages import form_page, posted, require_form
from accounts.selectors import (
    PeopleFigures,
    active_admins,
    has_mfa,
    hospital_search,
    member_list,
    people_figures,
)
from drservice.operators.access import access_hospital
from drservice.operators.acts import Act, act_page
from drservice.operators.figures import HospitalFigures, hospital_figures
from drservice.operators.forms import (
    HospitalCreateForm,
    HospitalRenameForm,
    HospitalRulesForm,
    ReasonForm,
)

# The part of the navigation that these pages belong to.
HOSPITALS = "operator-hospitals"
PAGE_SIZE = 25
# The words of `?state=`, and which hospitals they show.
STATES = {"": None, "open": True, "closed": False}
FILTERS = {"": "All", "open": "Open", "closed": "Closed"}
OPERATOR_COMMANDS = {
    "hospital_create": "Makes a hospital and its first admin, who adds everybody else.",
    "hospital_close": "Closes a hospital to its members, or opens it again.",
    "password_reset": "Gives somebody who forgot their password a new first one.",
    "createsuperuser": "Makes another platform operator.",
    "rotate_master_key": "Locks every hospital's keys under a new master key.",
    "rotate_hospital_key": "Gives a hospital a new key and seals its records with it.",
    "hospital_key_destroy": "Makes a hospital's patients unnamed for good.",
    "doctor": "Checks every part of this installation and names each cure.",
}


@dataclass(frozen=True)
class HospitalRow:
    hospital: Hospital
    people: PeopleFigures
    figures: HospitalFigures
    key: KeyState | None

    @property
    def last_activity_at(self) -> dt.datetime | None:
        """Return when somebody was last seen there, or a case was last made."""
        known = (self.people.last_seen_at, self.figures.newest_case_at)
        return max((moment for moment in known if moment), default=None)


@operator
@require_safe
def hospital_list(request: HttpRequest) -> HttpResponse:
    """Show the hospitals, a page at a time, with what may be counted of each."""
    search = " ".join(request.GET.get("q", "").replace("\0", " ").split())
    state = request.GET.get("state", "")
    state = state if state in STATES else ""
    found = hospital_search(name=search, is_active=STATES[state])
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "section": HOSPITALS,
        "page": page,
        "rows": _rows(page),
        "commands": OPERATOR_COMMANDS,
    }
    context |= {"search": search, "state": state, "filters": FILTERS}
    return render(request, "operators/hospital_list.html", context)


@operator
@require_safe
def hospital_detail(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    hospital = access_hospital(pk)
    [row] = _rows([hospital])
    members = [member for member in member_list(hospital) if member.is_active]
    context = {
        "section": HOSPITALS,
        "row": row,
        "admins": [admin.user for admin in active_admins(hospital.pk)],
        "with_mfa": len(has_mfa([member.user_id for member in members])),
        "trail": chain_states([hospital.pk]).get(hospital.pk),
    }
    return render(request, "operators/hospital_detail.html", context)


@operator
@require_form
def hospital_create(request: HttpRequest) -> HttpResponse:
    """Make a hospital, and show its first admin's first password: now and never again."""
    form = HospitalCreateForm(posted(request))
    if form.is_valid():
        try:
            hospital, password = hospital_add(**form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            context = {"section": HOSPITALS, "hospital_made": hospital, "password": password}
            context |= {"admin": form.cleaned_data}
            return render(request, "operators/hospital_created.html", context)
    return form_page(request, "operators/hospital_create.html", form, section=HOSPITALS)


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


def _rows(hospitals: Page | list[Hospital]) -> list[HospitalRow]:
    pks = [hospital.pk for hospital in hospitals]
    people, figures, keys = people_figures(pks), hospital_figures(pks), key_states(pks)
    return [
        HospitalRow(one, people.get(one.pk, PeopleFigures()), figures[one.pk], keys.get(one.pk))
        for one in hospitals
    ]


def _act(hospital: Hospital, **words: str) -> Act:
    back = resolve_url("operators:hospital-detail", hospital.pk)
    return Act(HOSPITALS, back=back, back_words=hospital.name, **words)
