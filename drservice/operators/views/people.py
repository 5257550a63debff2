"""The operators themselves."""

from bson import ObjectId
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.views.decorators.http import require_safe

from accounts.access import operator
from accounts.operator_services import operator_activate as activate_operator
from accounts.operator_services import operator_add
from accounts.operator_services import operator_deactivate as deactivate_operator
from accounts.pages import form_page, posted, require_form
from accounts.selectors import has_mfa
from accounts.selectors import operator_list as every_operator
from drservice.operators.access import access_operator
from drservice.operators.acts import Act, act_page
from drservice.operators.forms import OperatorCreateForm, ReasonForm

OPERATORS = "operator-people"


@operator
@require_safe
def operator_list(request: HttpRequest) -> HttpResponse:
    operators = every_operator()
    with_mfa = has_mfa([one.pk for one in operators])
    rows = [(one, one.pk in with_mfa) for one in operators]
    context = {"section": OPERATORS, "rows": rows}
    return render(request, "operators/operator_list.html", context)


@operator
@require_form
def operator_create(request: HttpRequest) -> HttpResponse:
    """Add an operator, and show their first password: now and never again."""
    form = OperatorCreateForm(posted(request))
    if form.is_valid():
        try:
            added, password = operator_add(**form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            context = {"section": OPERATORS, "added": added, "password": password}
            return render(request, "operators/operator_created.html", context)
    return form_page(request, "operators/operator_create.html", form, section=OPERATORS)


@operator
@require_form
def operator_deactivate(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    user = access_operator(pk)
    form = ReasonForm(posted(request), button="Deactivate")
    act = _act(
        title=f"Deactivate {user.name}?",
        explanation="They are signed out with their next click and can't sign in again, until "
        "another operator activates them.",
        done=f"{user.name} can't sign in any more.",
    )
    return act_page(request, act, form, lambda said: deactivate_operator(user=user, **said))


@operator
@require_form
def operator_activate(request: HttpRequest, pk: ObjectId) -> HttpResponse:
    user = access_operator(pk)
    form = ReasonForm(posted(request), button="Activate")
    act = _act(
        title=f"Activate {user.name} again?",
        explanation="They can sign in again and run the service.",
        done=f"{user.name} can sign in again.",
    )
    return act_page(request, act, form, lambda said: activate_operator(user=user, **said))


def _act(**words: str) -> Act:
    back = resolve_url("operators:operator-list")
    return Act(OPERATORS, back=back, back_words="Operators", **words)
