"""How a view of django-allauth becomes one of ours: a mark, its methods, and no cache."""

from collections.abc import Callable
from functools import wraps

from allauth.account.stages import LoginStageController
from allauth.mfa.stages import AuthenticateStage
from bson import ObjectId
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from redis.exceptions import RedisError

from accounts.sign_in.selectors import (
    SecondFactors,
    needs_mail_proof,
    passkey_of,
    second_factors_of,
)


def engine_view(view: Callable, *, mark: Callable, methods: tuple[str, ...]) -> Callable:
    """Put a view of allauth's behind one of the marks of accounts.access."""
    return mark(require_http_methods(methods)(paused_without_redis(never_cache(view))))


def has_proved_password(request: HttpRequest) -> bool:
    """Tell whether a sign-in of this session waits for its second factor."""
    return LoginStageController.enter(request, AuthenticateStage.key) is not None


def paused_without_redis(view: Callable) -> Callable:
    """Let nobody guess while guesses can't be counted: the count is in Redis."""

    @wraps(view)
    def counted(request: HttpRequest, *args, **kwargs) -> HttpResponse:
        try:
            response = view(request, *args, **kwargs)
            # Pages of allauth are rendered late; some of them count while they are.
            return response.render() if hasattr(response, "render") else response
        except RedisError:
            return render(request, "accounts/sign_in_paused.html", status=503)

    return counted


def only_with(view: Callable, condition: Callable[[SecondFactors], object]) -> Callable:
    """Lead back to the overview who has nothing set up that the view is about."""

    @wraps(view)
    def checked(request: HttpRequest, *args, **kwargs) -> HttpResponse:
        if not condition(second_factors_of(request.user)):
            return redirect("mfa_index")
        return view(request, *args, **kwargs)

    return checked


def only_proven(view: Callable) -> Callable:
    """Lead to a code by mail who has no second factor yet and has proven their password alone."""

    @wraps(view)
    def checked(request: HttpRequest, *args, **kwargs) -> HttpResponse:
        if needs_mail_proof(request):
            back = urlencode({"next": request.path})
            return redirect(f"{reverse('accounts:first-factor')}?{back}")
        return view(request, *args, **kwargs)

    return checked


def only_own_passkey(view: Callable) -> Callable:
    """Answer for anybody else's passkey as for one that never was, before asking for proof."""

    @wraps(view)
    def checked(request: HttpRequest, pk: ObjectId) -> HttpResponse:
        if passkey_of(request.user, pk) is None:
            raise Http404
        return view(request, pk=pk)

    return checked
