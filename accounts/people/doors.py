"""How a view gets hold of an invitation: as its hospital's admin, or by its secret.

The secret is the token of a link, or a first password together with the e-mail it was made for.
"""

from bson import ObjectId
from django.http import Http404, HttpRequest

from accounts.access import access_membership
from accounts.models import Invitation
from accounts.people.selectors import hash_of, invitation_by_token_hash
from accounts.services import first_password_in

# The session keeps the token's hash: the address bar loses the token with the first page.
SESSION_INVITATION = "invitation"


def access_invitation(request: HttpRequest, pk: ObjectId) -> Invitation:
    """Return an invitation of the caller's hospital. Raises the same 404 for foreign and absent."""
    hospital = access_membership(request).hospital
    found = Invitation.objects.filter(hospital=hospital, pk=pk).first()
    if found is None:
        raise Http404
    found.hospital = hospital
    return found


def open_by_link(request: HttpRequest, token: str) -> bool:
    """Keep the invitation of a link open in this session; tell whether there is one."""
    return _open(request, invitation_by_token_hash(hash_of(token)))


def open_by_first_password(request: HttpRequest, *, email: str, password: str) -> bool:
    """Keep the invitation of a first password open in this session; tell whether there is one.

    What isn't written like a first password is never hashed here: it may be somebody's own.
    """
    entered = first_password_in(password)
    found = invitation_by_token_hash(hash_of(entered)) if entered else None
    return _open(request, found if found and found.email == email else None)


def opened_invitation(request: HttpRequest) -> Invitation | None:
    """Return the invitation that was opened in this session, whatever became of it."""
    token_hash = request.session.get(SESSION_INVITATION)
    return invitation_by_token_hash(token_hash) if token_hash else None


def _open(request: HttpRequest, invitation: Invitation | None) -> bool:
    if invitation is None:
        return False
    request.session[SESSION_INVITATION] = invitation.token_hash
    return True
