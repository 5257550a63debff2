"""What the pages with forms of every part of this app share."""

from crispy_forms.helper import FormHelper
from crispy_forms.layout import Submit
from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from drservice.common.lines import one_line

require_form = require_http_methods(["GET", "HEAD", "POST"])


class LineField(forms.CharField):
    """One line of text as people see it, with single spaces."""

    def to_python(self, value) -> str:
        return one_line(super().to_python(value))


def form_helper(button: str) -> FormHelper:
    """Return how a form looks that ends with one button."""
    helper = FormHelper()
    helper.attrs = {"novalidate": True}
    helper.add_input(Submit("", button, css_class="btn btn-primary"))
    return helper


def posted(request: HttpRequest) -> QueryDict | None:
    """Return what a form sent; None, which leaves a form unbound, when none was sent."""
    return request.POST if request.method == "POST" else None


def form_page(request: HttpRequest, template: str, form, **context) -> HttpResponse:
    """Show a form; one that was refused is a 422."""
    status = 422 if form.errors else 200
    return render(request, template, {"form": form, **context}, status=status)
