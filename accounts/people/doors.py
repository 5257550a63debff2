"""How a view gets hold of an invitation: as its hospital's admin, or by its link."""

from bson import ObjectId
from django.http import Http404, HttpRequest

from accounts.access import access_membership
from accounts.models import Invitation
from accounts.people.selectors import invitation_by_token_hash

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


def opened_invitation(request: HttpRequest) -> Invitation | None:
    """Return the invitation whose link was opened in this session, whatever became of it."""
    token_hash = request.session.get(SESSION_INVITATION)
    return invitation_by_token_hash(token_hash) if token_hash else None
