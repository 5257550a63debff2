"""Count what anybody may try without having signed in, by the address it comes from."""

import logging
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from redis.exceptions import RedisError

from drservice.common.client_address import network_of
from drservice.common.rate_limits import RateLimit, TooOften

log = logging.getLogger(__name__)

# A hospital's people share one address and come in at eight: sixty a minute is a full shift. Who
# tries many names with few passwords each passes under the count for each name, but not here.
ATTEMPTS = RateLimit(
    name="attempts",
    most=60,
    window_s=60,
    refusal="Too many attempts came from this network address.",
    closes=True,
)


def above_limit(*, lets_in: Callable[[HttpRequest], bool]) -> Callable:
    """Mark the view of an open form with whom it takes from an address above its limit.

    They are people with a proof that others at their address don't have: a waiting room full of
    tries must not keep a hospital's staff out.
    """

    def mark(view: Callable) -> Callable:
        view.lets_in_above_limit = lets_in
        return view

    return mark


def anybody(request: HttpRequest) -> bool:
    """Let everybody in: to a view that counts, and refuses, by itself."""
    return True


class AttemptLimitMiddleware:
    """Answer 429 to an address that tries too often; 503 while nobody can count.

    Counted are the forms that are open to anybody, `settings.ATTEMPT_DOORS`. Above the limit those
    go on whom a view marked by `above_limit` lets in; `request.over_limit` then says so.
    """

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.over_limit = None
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view, args, kwargs) -> HttpResponse | None:
        counted = request.method == "POST" and not request.user.is_authenticated
        if not counted or request.resolver_match.view_name not in settings.ATTEMPT_DOORS:
            return None
        try:
            ATTEMPTS.take(network_of(request.META.get("REMOTE_ADDR", "")))
        except TooOften as fault:
            request.over_limit = fault
            lets_in = getattr(view, "lets_in_above_limit", None)
            return None if lets_in and lets_in(request) else too_often(request, fault)
        except RedisError:
            return render(request, "accounts/sign_in_paused.html", status=503)
        return None


def too_often(request: HttpRequest, fault: TooOften) -> HttpResponse:
    """Answer 429 with a page that says when to try again."""
    context = {"message": fault.message, "wait_s": fault.retry_after_s}
    response = render(request, "429.html", context, status=429)
    response["Retry-After"] = str(fault.retry_after_s)
    return response
