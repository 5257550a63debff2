"""Read a hospital's people and its invitations, searched and filtered as its admin asks."""

import hashlib
from dataclasses import dataclass

from django.db.models.functions import Now

from accounts.models import (
    Hospital,
    Invitation,
    InvitationState,
    Membership,
    User,
    invited_hash,
)
from accounts.scoping import hospital_scope
from accounts.selectors import has_mfa
from accounts.selectors import member_list as every_member


@dataclass(frozen=True)
class MemberFilter:
    """What an admin looks for; an empty field asks for nothing."""

    search: str = ""
    role: str = ""
    state: str = ""
    factor: str = ""

    def __bool__(self) -> bool:
        return any((self.search, self.role, self.state, self.factor))


def members_found(hospital: Hospital, wanted: MemberFilter) -> list[Membership]:
    """Return the members who fit, active first, then by name; each says whether they have MFA.

    Works in memory: a hospital has hundreds of people, and their e-mails stand in a collection
    that all hospitals share.
    """
    members = every_member(hospital)
    # Of whoever has never worked here an admin learns nothing, not even that they have an account.
    came = [member.user_id for member in members if member.last_seen_at]
    protected = has_mfa(came)
    for member in members:
        member.has_mfa = member.user_id in protected
    return [member for member in members if _fits(member, wanted)]


def members_without_mfa(hospital: Hospital) -> list[Membership]:
    return members_found(hospital, MemberFilter(state="active", factor="without"))


def _fits(member: Membership, wanted: MemberFilter) -> bool:
    return (
        wanted.search.casefold() in f"{member.name}\n{member.user.email}".casefold()
        and wanted.role in ("", *member.roles)
        and wanted.state in ("", "active" if member.is_active else "deactivated")
        and wanted.factor in ("", "with" if member.has_mfa else "without")
    )


def member_by_email(hospital: Hospital, email: str) -> Membership | None:
    """Return the member with an e-mail, deactivated or not.

    Looks among the hospital's own people only: an address that has an account elsewhere takes no
    longer than one that has none.
    """
    members = {one.user_id: one for one in Membership.objects.filter(hospital=hospital)}
    users = User.objects.filter(pk__in=list(members), email=email.strip().lower())
    return next((members[user.pk] for user in users), None)


def member_emails(hospital: Hospital) -> dict[str, Membership]:
    """Return a hospital's members by the e-mail they sign in with."""
    return {member.user.email: member for member in every_member(hospital)}


def invitation_list(
    hospital: Hospital, *, state: str, search: str, start: int, count: int
) -> list[Invitation]:
    """Return some of a hospital's invitations in one state, newest first.

    Searches in memory: names and addresses rest sealed, and those that are over are soon deleted.
    """
    found = Invitation.objects.filter(hospital=hospital, state=state).order_by("-created_at", "-pk")
    if not search:
        return list(found[start : start + count])
    sought = search.casefold()
    fitting = [one for one in found if sought in f"{one.name}\n{one.email}".casefold()]
    return fitting[start : start + count]


def invitation_pending(hospital: Hospital, email: str) -> Invitation | None:
    """Return an address's pending invitation, expired or not. Raises KeyDestroyed."""
    pending = Invitation.objects.pending().filter(hospital=hospital)
    return pending.filter(email_hash=invited_hash(email, hospital.pk)).first()


def invited_emails(hospital: Hospital) -> set[str]:
    """Return the addresses with an invitation that is pending and has not expired."""
    pending = Invitation.objects.pending().filter(hospital=hospital, expires_at__gt=Now())
    return {one.email for one in pending}


@dataclass(frozen=True)
class MailCounts:
    """How many pending invitations of a hospital were mailed, wait for it, and were given up."""

    sent: int
    waiting: int
    failed: int


def mail_counts(hospital: Hospital) -> MailCounts:
    pending = Invitation.objects.pending().filter(hospital=hospital, expires_at__gt=Now())
    mailed = pending.exclude(link_origin="")
    times = list(mailed.values_list("mailed_at", "mail_due_at"))
    sent = sum(at is not None for at, _ in times)
    waiting = sum(due is not None for _, due in times)
    return MailCounts(sent, waiting, failed=len(times) - sent - waiting)


def inviter_of(invitation: Invitation) -> str:
    """Return what the hospital calls whoever invites; an operator has their own name alone."""
    places = Membership.objects.filter(hospital_id=invitation.hospital_id)
    place = places.filter(user_id=invitation.invited_by_id).first()
    return place.name if place else invitation.invited_by.name


def invitations_waiting(hospital: Hospital) -> int:
    return Invitation.objects.filter(hospital=hospital, state=InvitationState.PENDING).count()


def hash_of(token: str) -> str:
    """Return what is kept of a token or first password.

    Plain SHA-256 is enough: they are 256 and 79 random bits, and good for days.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def invitation_by_token_hash(token_hash: str) -> Invitation | None:
    """Return the invitation whose latest link or first password it is, with its hospital."""
    invitation = Invitation.objects.filter(token_hash=token_hash).first()
    if invitation is not None:
        invitation.hospital = Hospital.objects.get(pk=invitation.hospital_id)
        _unseal(invitation)
    return invitation


def _unseal(invitation: Invitation) -> None:
    """Look at what is sealed, for whoever holds the secret and may be at work in another hospital.

    A field is unsealed the first time it is looked at, and the open scope must allow it then.
    """
    with hospital_scope(invitation.hospital_id):
        _ = invitation.email, invitation.name
