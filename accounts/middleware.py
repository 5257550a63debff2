"""Put the caller's membership on the request and open the scope of their hospital."""

from contextlib import nullcontext

from bson import ObjectId
from bson.errors import InvalidId
from django.http import HttpRequest, HttpResponse

from accounts.models import Membership
from accounts.scoping import hospital_scope
from accounts.selectors import membership_active, memberships_of

SESSION_HOSPITAL = "hospital_id"


class HospitalScopeMiddleware:
    """Set `request.membership` (None for strangers) and hold the hospital's scope open.

    The membership is read afresh on every request, so a deactivated person or a changed role
    counts from the next click on.
    """

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.membership = _membership_for(request)
        with _scope_for(request.membership):
            return self.get_response(request)


def _scope_for(membership: Membership | None):
    return hospital_scope(membership.hospital_id) if membership else nullcontext()


def _membership_for(request: HttpRequest) -> Membership | None:
    if not request.user.is_authenticated:
        return None
    return _chosen_membership(request) or memberships_of(request.user).first()


def _chosen_membership(request: HttpRequest) -> Membership | None:
    try:
        hospital_id = ObjectId(request.session[SESSION_HOSPITAL])
    except (KeyError, InvalidId):
        return None
    return membership_active(user=request.user, hospital_id=hospital_id)
