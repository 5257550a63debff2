"""What a request is answered with that can't be read at all."""

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.template.loader import render_to_string


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say so, without reading the request once more.

    Django's own page looks for a security token in it, and fails again on what can't be read.
    """
    return HttpResponseBadRequest(render_to_string("400.html"))
