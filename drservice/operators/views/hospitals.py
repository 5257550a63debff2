"""Hospitals as operators see them: names, states and numbers."""

import datetime as dt
from dataclasses import dataclass

from bson import ObjectId
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.access import operator
from accounts.audit.chain_states import chain_states
from accounts.keys.selectors import KeyState, key_states
from accounts.limits.selectors import Usage, usage_of
from accounts.models import Hospital, Invitation, InvitationState
from accounts.people.selectors import invitation_list
from accounts.permissions import Role
from accounts.selectors import (
    PeopleFigures,
    active_admins,
    has_mfa,
    hospital_search,
    member_list,
    people_figures,
)
from drservice.operators.access import access_hospital
from drservice.operators.figures import HospitalFigures, hospital_figures
from drservice.operators.words import bytes_in_words

# The part of the navigation that these pages belong to.
HOSPITALS = "operator-hospitals"
PAGE_SIZE = 25
MAX_SEARCH = 80
# The words of `?state=`, and which hospitals they show.
STATES = {"": None, "open": True, "closed": False}
FILTERS = {"": "All", "open": "Open", "closed": "Closed"}
LIMIT_TITLES = {
    "photographs_a_day": "Photographs today",
    "bytes_a_day": "Uploaded today",
    "photographs_in_all": "Photographs in all",
    "bytes_in_all": "Stored in all",
}
OPERATOR_COMMANDS = {
    "hospital_create": "Makes a hospital and its first admin, who adds everybody else.",
    "hospital_close": "Closes a hospital to its members, or opens it again.",
    "password_reset": "Gives somebody who forgot their password a new first one.",
    "second_factor_remove": "Lets somebody in again who lost their telephone and recovery codes.",
    "operator_add": "Makes another platform operator.",
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


@dataclass(frozen=True)
class LimitRow:
    """What a hospital has used of one limit, in words."""

    title: str
    used: str
    most: str
    is_default: bool
    is_reached: bool


@operator
@require_safe
def hospital_list(request: HttpRequest) -> HttpResponse:
    """Show the hospitals, a page at a time, with what may be counted of each."""
    search = " ".join(request.GET.get("q", "").replace("\0", " ").split())[:MAX_SEARCH]
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
        "admins": active_admins(hospital.pk),
        "invited": _invited_admins(hospital),
        "with_mfa": len(has_mfa([member.user_id for member in members])),
        "limits": [_limit_row(one) for one in usage_of(hospital.pk) if one.most is not None],
        "trail": chain_states([hospital.pk]).get(hospital.pk),
    }
    return render(request, "operators/hospital_detail.html", context)


def _rows(hospitals: Page | list[Hospital]) -> list[HospitalRow]:
    pks = [hospital.pk for hospital in hospitals]
    people, figures, keys = people_figures(pks), hospital_figures(pks), key_states(pks)
    return [
        HospitalRow(one, people.get(one.pk, PeopleFigures()), figures[one.pk], keys.get(one.pk))
        for one in hospitals
    ]


def _limit_row(usage: Usage) -> LimitRow:
    used, most = usage.used, usage.most
    if usage.in_bytes:
        used, most = bytes_in_words(used), bytes_in_words(most)
    title = LIMIT_TITLES[usage.limit]
    return LimitRow(title, str(used), str(most), usage.is_default, usage.is_reached)


def _invited_admins(hospital: Hospital) -> list[Invitation]:
    state = InvitationState.PENDING
    pending = invitation_list(hospital, state=state, search="", start=0, count=PAGE_SIZE)
    return [one for one in pending if Role.HOSPITAL_ADMIN in one.roles]
