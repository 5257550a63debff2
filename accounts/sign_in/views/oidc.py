"""The two addresses of signing in through the hospital's own directory."""

import logging
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import public
from accounts.sign_in.destinations import safe_next
from accounts.sign_in.oidc import Unreachable, oidc_begin, oidc_complete

log = logging.getLogger(__name__)


def _if_set_up(view: Callable) -> Callable:
    @wraps(view)
    def checked(request: HttpRequest, provider_id: str) -> HttpResponse:
        if request.user.is_authenticated:
            return redirect(settings.LOGIN_REDIRECT_URL)
        if not settings.OIDC_NAME:
            return redirect("accounts:sign-in")
        try:
            return view(request)
        except Unreachable as error:
            log.error("directory_unreachable cause=%s", type(error.__cause__ or error).__name__)
            return render(request, "socialaccount/authentication_error.html", status=503)

    return checked


@public
@require_safe
@never_cache
@_if_set_up
def begin(request: HttpRequest) -> HttpResponse:
    """Lead to the provider, and take nothing along but the page to come back to."""
    kept = QueryDict(mutable=True)
    if wanted := safe_next(request):
        kept["next"] = wanted
    request.GET = kept
    return oidc_begin(request)


@public
@require_safe
@never_cache
@_if_set_up
def complete(request: HttpRequest) -> HttpResponse:
    """Let in whom the provider vouches for; who isn't known here by that e-mail is told so."""
    return oidc_complete(request)
