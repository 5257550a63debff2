"""The doors: who may enter a view, and the one way a view gets hold of a membership.

Every view carries exactly one of the marks below. A test walks the URL conf and fails on a view
without one, so a forgotten mark can't become an open door.

- `public`: anybody.
- `signed_in`: anybody with an account, member of a hospital or not.
- `member(capability)`: members of the active hospital who have the capability.
- `operator`: platform operators, who run the service and see no patient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction
from bson import ObjectId
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.cache import add_never_cache_headers
from django_htmx.http import HttpResponseClientRedirect

from accounts.models import Membership
from accounts.permissions import Capability

# What an anonymous caller gets: pages lead to sign-in; images, events and JSON don't exist.
SIGN_IN = "sign-in"
NOT_FOUND = "not-found"


@dataclass(frozen=True)
class Access:
    """The mark on a view: how it is guarded. `capability` is None for public and signed-in."""

    kind: str
    capability: Capability | None = None
    anonymous: str = SIGN_IN


def public(view: Callable) -> Callable:
    """Let anybody in, signed in or not."""
    view.access = Access("public")
    return view


def signed_in(view: Callable) -> Callable:
    """Let in anybody who has signed in, even before they have chosen a password of their own."""
    return _guard(view, Access("signed-in"), _refuse_strangers)


def member(capability: Capability, *, anonymous: str = SIGN_IN) -> Callable:
    """Let in members of the active hospital who have `capability`.

    Anonymous callers are led to sign-in, or get a 404 where `anonymous` is NOT_FOUND. A person
    without a hospital gets a 404. A colleague who lacks the capability gets a 403 that names it;
    that tells nothing about whether the object exists, as nothing has been looked up yet.
    """

    def mark(view: Callable) -> Callable:
        return _guard(view, Access("member", capability, anonymous), _refuse_non_members)

    return mark


def operator(view: Callable) -> Callable:
    """Let in platform operators; to everybody else who has signed in the page doesn't exist."""
    return _guard(view, Access("operator"), _refuse_non_operators)


def access_membership(request: HttpRequest) -> Membership:
    """Return the caller's membership in the active hospital, or raise the 404 of a stranger."""
    if request.membership is None:
        raise Http404
    return request.membership


def access_colleague(request: HttpRequest, pk: ObjectId) -> Membership:
    """Return a membership of the caller's hospital. Raises the same 404 for foreign and absent."""
    hospital_id = access_membership(request).hospital_id
    found = Membership.objects.filter(hospital_id=hospital_id, pk=pk).first()
    if found is None:
        raise Http404
    return found


def _guard(view: Callable, access: Access, refuse: Callable) -> Callable:
    """Wrap a view, plain or async, so that it runs only when `refuse` returns None."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def guarded(request: HttpRequest, *args, **kwargs):
            refusal = refuse(request, access)
            return _private(refusal or await view(request, *args, **kwargs))
    else:

        @wraps(view)
        def guarded(request: HttpRequest, *args, **kwargs):
            refusal = refuse(request, access)
            return _private(refusal or view(request, *args, **kwargs))

    guarded.access = access
    return guarded


def _refuse_strangers(request: HttpRequest, access: Access) -> HttpResponse | None:
    return None if request.user.is_authenticated else _to_sign_in(request)


def _refuse_non_members(request: HttpRequest, access: Access) -> HttpResponse | None:
    if not request.user.is_authenticated:
        if access.anonymous == NOT_FOUND:
            raise Http404
        return _to_sign_in(request)
    if not access_membership(request).can(access.capability):
        raise PermissionDenied(f"Your role can't {access.capability.label}.")
    if request.has_moved and request.method not in ("GET", "HEAD"):
        # Entered while the session still worked in another hospital.
        return render(request, "accounts/csrf_failure.html", status=403)
    return still_to_do(request)


def still_to_do(request: HttpRequest) -> HttpResponse | None:
    """Lead to what a person has to do before they work here, or return None."""
    if request.user.must_change_password:
        return redirect("accounts:password-change")
    if getattr(request, "must_add_factor", False):
        return redirect("mfa_index")
    return None


def _refuse_non_operators(request: HttpRequest, access: Access) -> HttpResponse | None:
    if not request.user.is_authenticated:
        return _to_sign_in(request)
    if not request.user.is_operator:
        raise Http404
    return still_to_do(request)


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    """Lead to sign-in and back again, to a page: never to the address of a form or a fragment."""
    if request.htmx:
        back = urlsplit(request.htmx.current_url_abs_path or "").path
        return HttpResponseClientRedirect(_sign_in_address(back))
    if request.method in ("GET", "HEAD"):
        return redirect(_sign_in_address(request.get_full_path()))
    return redirect(_sign_in_address(""))


def _sign_in_address(back: str) -> str:
    return redirect_to_login(back).url if back else resolve_url("accounts:sign-in")


def _private(response: HttpResponse) -> HttpResponse:
    """Keep what only a signed-in person may see out of every cache, unless the view says how."""
    if not response.has_header("Cache-Control"):
        add_never_cache_headers(response)
    return response
