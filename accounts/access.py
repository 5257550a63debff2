"""The doors: who may enter a view, and the one way a view gets hold of a person's membership.

Every view carries exactly one of the marks below. A test walks the URL conf and fails on a view
without one, so a forgotten mark can't become an open door.

- `public`: anybody.
- `signed_in`: anybody with an account, member of a hospital or not.
- `member(capability)`: members of the active hospital who have the capability.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

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
    """Let in anybody who has signed in."""

    @wraps(view)
    def guarded(request: HttpRequest, *args, **kwargs):
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        return view(request, *args, **kwargs)

    guarded.access = Access("signed-in")
    return guarded


def member(capability: Capability, *, anonymous: str = SIGN_IN) -> Callable:
    """Let in members of the active hospital who have `capability`.

    Anonymous callers are led to sign-in, or get a 404 where `anonymous` is NOT_FOUND. A person
    without a hospital gets a 404. A colleague who lacks the capability gets a 403 that names it;
    that tells nothing about whether the object exists, as nothing has been looked up yet.
    """

    def mark(view: Callable) -> Callable:
        @wraps(view)
        def guarded(request: HttpRequest, *args, **kwargs):
            refusal = _refusal(request, capability, anonymous)
            if refusal is not None:
                return refusal
            return view(request, *args, **kwargs)

        guarded.access = Access("member", capability, anonymous)
        return guarded

    return mark


def _refusal(request: HttpRequest, capability: Capability, anonymous: str):
    if not request.user.is_authenticated:
        if anonymous == NOT_FOUND:
            raise Http404
        return redirect_to_login(request.get_full_path())
    if not access_membership(request).can(capability):
        raise PermissionDenied(f"Your role can't {capability.label}.")
    return None


def access_membership(request: HttpRequest) -> Membership:
    """Return the caller's membership in the active hospital, or raise the 404 of a stranger."""
    if request.membership is None:
        raise Http404
    return request.membership
