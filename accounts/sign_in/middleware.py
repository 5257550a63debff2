"""Keep the list of sessions true, and know who must set up a second factor before they go on."""

from hashlib import sha256

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.open_sessions import SESSION_SEEN
from accounts.sign_in.selectors import has_second_factor

SESSION_LISTED = "listed_as"


class SessionListMiddleware:
    """Write down where a session was seen: once at its first click, then once a minute at most."""

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            _list_session(request)
        return self.get_response(request)


class SecondFactorMiddleware:
    """Set `request.must_add_factor`: the marks of accounts.access lead to where one is set up."""

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.must_add_factor = is_factor_asked_for(request) and not has_second_factor(
            request.user
        )
        return self.get_response(request)


def is_factor_asked_for(request: HttpRequest) -> bool:
    """Tell whether the place in which a person works insists on a second factor."""
    if not request.user.is_authenticated:
        return False
    if request.user.is_operator:
        return settings.MFA_FOR_OPERATORS
    return request.membership is not None and request.membership.hospital.mfa_required


def _list_session(request: HttpRequest) -> None:
    # With its key, which a change of the password renews; the key itself stays out of the session.
    key = request.session.session_key
    seen = [sha256(str(key).encode()).hexdigest()[:16], request.session.get(SESSION_SEEN)]
    if request.session.get(SESSION_LISTED) == seen:
        return
    # A session that is kept in a cookie alone could not be ended from elsewhere.
    if request.session.exists(key):
        UserSession.objects.create_from_request(request)
        request.session[SESSION_LISTED] = seen
