"""Count what anybody may try without having signed in, by the address it comes from."""

import logging

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from redis.exceptions import RedisError

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


class AttemptLimitMiddleware:
    """Answer 429 to an address that tries too often; 503 while nobody can count.

    Counted are the forms that are open to anybody, `settings.ATTEMPT_DOORS`.
    """

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view, args, kwargs) -> HttpResponse | None:
        counted = request.method == "POST" and not request.user.is_authenticated
        if not counted or request.resolver_match.view_name not in settings.ATTEMPT_DOORS:
            return None
        try:
            ATTEMPTS.take(request.META.get("REMOTE_ADDR", ""))
        except TooOften as fault:
            return too_often(request, fault)
        except RedisError:
            return render(request, "accounts/sign_in_paused.html", status=503)
        return None


def too_often(request: HttpRequest, fault: TooOften) -> HttpResponse:
    """Answer 429 with a page that says when to try again."""
    context = {"message": fault.message, "wait_s": fault.retry_after_s}
    response = render(request, "429.html", context, status=429)
    response["Retry-After"] = str(fault.retry_after_s)
    return response
