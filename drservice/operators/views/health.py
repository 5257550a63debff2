"""How the installation is right now."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import operator
from accounts.selectors import hospital_list
from drservice.operators.figures import FAILED_AGES, WAITING_AGES, age_figures
from drservice.operators.installation import installation_report

HEALTH = "operator-health"


@operator
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Show every part, the queues, the workers, and what waits; the page asks again by itself."""
    context = {
        "section": HEALTH,
        "report": installation_report(),
        "hospitals": _hospitals_with_work(),
        "waiting_ages": [words for _, words in WAITING_AGES],
        "failed_ages": [words for _, words in FAILED_AGES],
        "now": timezone.now(),
    }
    return render(request, "operators/health.html", context)


def _hospitals_with_work() -> list[tuple]:
    """Return the hospitals where cases wait or have failed, with how many for how long."""
    hospitals = list(hospital_list())
    ages = age_figures([hospital.pk for hospital in hospitals])
    return [(hospital, ages[hospital.pk]) for hospital in hospitals if hospital.pk in ages]
