"""How the installation is right now."""

import datetime as dt
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import operator
from accounts.models import Hospital
from accounts.selectors import hospital_list
from drservice.operators.figures import AgeFigures, age_figures
from drservice.operators.installation import installation_report
from drservice.operators.words import age_in_words

HEALTH = "operator-health"


@dataclass(frozen=True)
class WorkRow:
    """What waits and what has failed in one hospital, in words; `longest` for the first of them."""

    hospital: Hospital
    waiting: list[str]
    failed: list[str]
    longest: str


@operator
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Show every part, the queues, the workers, and what waits; the page asks again by itself."""
    now = timezone.now()
    context = {
        "section": HEALTH,
        "report": installation_report(),
        "hospitals": _hospitals_with_work(now),
        "now": now,
    }
    return render(request, "operators/health.html", context)


def _hospitals_with_work(now: dt.datetime) -> list[WorkRow]:
    """Return the hospitals where cases wait or have failed, with how many for how long."""
    hospitals = list(hospital_list())
    ages = age_figures([hospital.pk for hospital in hospitals])
    return [_work_row(one, ages[one.pk], now) for one in hospitals if one.pk in ages]


def _work_row(hospital: Hospital, ages: AgeFigures, now: dt.datetime) -> WorkRow:
    longest = age_in_words(ages.longest_since, now) if ages.longest_since else ""
    return WorkRow(hospital, ages.waiting_words, ages.failed_words, longest)
