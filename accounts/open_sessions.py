"""What a session may do at this moment: the rules that requests and open streams share."""

import time
from importlib import import_module

from bson import ObjectId
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.utils.crypto import constant_time_compare

from accounts.models import Membership, User
from accounts.selectors import has_mfa, memberships_of

SESSION_HOSPITAL = "hospital_id"
# Where the latest request worked, chosen or not.
SESSION_WORKED_IN = "worked_in"
SESSION_BEGAN = "began_at_s"
SESSION_SEEN = "seen_at_s"


def is_over(session: SessionBase) -> bool:
    """Tell whether nobody has clicked for a while, or the day's work is over."""
    now_s = int(time.time())
    idle_s = now_s - session.get(SESSION_SEEN, now_s)
    age_s = now_s - session.get(SESSION_BEGAN, now_s)
    return idle_s > settings.SESSION_IDLE_S or age_s > settings.SESSION_COOKIE_AGE


def chosen_membership(session: SessionBase, memberships: list[Membership]) -> Membership | None:
    """Return the membership that the person switched to, or else their oldest."""
    chosen = session.get(SESSION_HOSPITAL) if memberships else None
    for membership in memberships:
        if str(membership.hospital_id) == chosen:
            return membership
    return memberships[0] if memberships else None


def membership_now(session_key: str, user_pk: ObjectId) -> Membership | None:
    """Return in which membership a person's next request by this session would work.

    None when the session has ended, belongs to somebody else by now, or leads to no hospital.
    """
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = User.objects.filter(pk=user_pk, is_active=True).first()
    if user is None or not _belongs_to(session, user) or is_over(session):
        return None
    membership = chosen_membership(session, memberships_of(user))
    return None if membership and _lacks_a_factor(membership) else membership


def _lacks_a_factor(membership: Membership) -> bool:
    """Tell whether the next request would lead to setting up a second factor."""
    return membership.hospital.mfa_required and not has_mfa([membership.user_id])


def _belongs_to(session: SessionBase, user: User) -> bool:
    """Tell what django.contrib.auth.get_user does, but end nothing: looking changes no session."""
    if session.get(SESSION_KEY) != str(user.pk):
        return False
    held = session.get(HASH_SESSION_KEY, "")
    valid = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(held, one) for one in valid)
