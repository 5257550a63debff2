"""The page on which an operator confirms an act and says why."""

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.pages import form_page
from drservice.common.errors import ServiceFault


@dataclass(frozen=True)
class Act:
    """What is about to be done, in the words of its page; `back` is where one goes afterwards."""

    section: str
    title: str
    explanation: str
    done: str
    back: str
    back_words: str
    template: str = "operators/act_confirm.html"


def act_page(
    request: HttpRequest, act: Act, form, carry_out: Callable[[dict], object], **context
) -> HttpResponse:
    """Show the form of an act; carry it out once the form is right, and say so."""
    if form.is_valid():
        try:
            carry_out(form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error.messages)
        except ServiceFault as fault:
            form.add_error(None, fault.message)
        else:
            messages.success(request, act.done)
            return redirect(act.back)
    return form_page(request, act.template, form, act=act, section=act.section, **context)
