"""Invite people, and take them in."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from bson import ObjectId
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.actors import current_actor, person
from accounts.audit.services import audit_record, audited
from accounts.keys.errors import KeyDestroyed
from accounts.keys.sealing import sealing_check
from accounts.models import Hospital, Invitation, Membership, User, invited_hash
from accounts.people.selectors import hash_of, invitation_pending, member_by_email
from accounts.permissions import Role
from accounts.services import first_password, membership_create

INVITATION = "invitation"

ALREADY_MEMBER = "This address belongs to somebody who works here already."
DEACTIVATED = "This address belongs to somebody who is deactivated here. Activate them again."
ALREADY_INVITED = (
    "This address is invited already. Look among the invitations: they can be sent again, or "
    "withdrawn."
)
NOT_PENDING = "This invitation was accepted or withdrawn meanwhile."
NO_LONGER_VALID = "This invitation can't be accepted any more."
HAS_ACCOUNT = "This address has an account already. Sign in with it to accept."
FOR_ANOTHER = "This invitation is for another address."
FOR_OPERATOR = "Platform operators belong to no hospital, so they can't accept invitations."


@dataclass(frozen=True)
class Issued:
    """An invitation and its token, which is known only now: a link's, or a first password."""

    invitation: Invitation
    token: str


@audited
def invitation_create(
    *,
    hospital: Hospital,
    email: str,
    name: str,
    roles: list[str],
    by: User,
    by_hand: bool = False,
    mail_from: str = "",
) -> Issued:
    """Offer an address a place. An expired invitation of the same address is made anew.

    `by_hand` makes a first password to hand over, instead of a link. `mail_from` is what a link
    begins with that a worker is to mail, with a token of its own. Never looks whether the address
    has an account: whoever it belongs to accepts, and is a member from then on. Raises
    ValidationError when it belongs to a member or is invited already, and when the hospital's key
    was destroyed.
    """
    _require_key(hospital.pk)
    _require_no_place(hospital, email)
    earlier = invitation_pending(hospital, email)
    if earlier is not None and not earlier.is_expired:
        raise ValidationError(ALREADY_INVITED)
    email_hash = invited_hash(email, hospital.pk)
    invitation = earlier or Invitation(hospital=hospital, email=email, email_hash=email_hash)
    invitation.name = name
    invitation.roles = [role for role in Role if role in roles]
    invitation.invited_by = by
    invitation.by_hand = by_hand
    invitation.created_at = timezone.now()
    token = _renew(invitation, mail_from)
    _record(Action.INVITE, invitation, after=_offer(invitation))
    return Issued(invitation, token)


@audited
def invitation_send_again(
    *, invitation: Invitation, by_hand: bool = False, mail_from: str = ""
) -> Issued:
    """Give a PENDING invitation a new link or first password, and a new term; the old is void.

    Raises ValidationError when it was accepted or withdrawn meanwhile, and when the hospital's key
    was destroyed.
    """
    _require_key(invitation.hospital_id)
    invitation = _pending_again(invitation)
    before = _offer(invitation)
    invitation.by_hand = by_hand
    token = _renew(invitation, mail_from)
    _record(Action.INVITE, invitation, before=before, after=_offer(invitation))
    return Issued(invitation, token)


@audited
def invitation_withdraw(*, invitation: Invitation) -> Invitation:
    """Take a PENDING invitation back; its link is void. Raises ValidationError when it is over."""
    if not Invitation.objects.withdraw(pk=invitation.pk):
        raise ValidationError(NOT_PENDING)
    _record(Action.CANCEL, invitation, before=_offer(invitation))
    invitation.refresh_from_db()
    return invitation


@audited
def invitation_accept(*, invitation: Invitation, user: User) -> Membership:
    """Take up a PENDING invitation as the person behind its address.

    Raises ValidationError when it is over, the person is somebody else or an operator, or they
    have a place in the hospital already.
    """
    if user.email != invitation.email:
        raise ValidationError(FOR_ANOTHER)
    if user.is_operator:
        raise ValidationError(FOR_OPERATOR)
    taken = Invitation.objects.accept(pk=invitation.pk, token_hash=invitation.token_hash, by=user)
    if not taken or not Hospital.objects.filter(pk=invitation.hospital_id, is_active=True).exists():
        raise ValidationError(NO_LONGER_VALID)
    membership = membership_create(
        user=user, hospital=invitation.hospital, roles=invitation.roles, name=invitation.name
    )
    actor = person(user, address=current_actor().address)
    _record(Action.ACCEPT, invitation, after={"member": str(membership.pk)}, actor=actor)
    return membership


def invitation_accept_as_new(*, invitation: Invitation, name: str, password: str) -> User:
    """Make the account that an invitation's address lacks, and take the invitation up with it.

    Raises ValidationError when the address has an account by now, or the invitation is over; then
    there is neither account nor place.
    """
    # Slow by design, so not inside the transaction, which may run several times.
    return _accept_as_new(invitation=invitation, name=name, hashed=make_password(password))


@audited
def _accept_as_new(*, invitation: Invitation, name: str, hashed: str) -> User:
    user = User(email=invitation.email, name=name, password=hashed)
    user.full_clean(validate_unique=False)
    try:
        user.save(force_insert=True)
    except IntegrityError as error:
        raise ValidationError(HAS_ACCOUNT) from error
    membership = invitation_accept(invitation=invitation, user=user)
    # They know best how they are called.
    Membership.objects.filter(pk=membership.pk).update(name=name)
    return user


def _require_key(hospital_id: ObjectId) -> None:
    try:
        sealing_check(hospital_id)
    except KeyDestroyed as fault:
        raise ValidationError(fault.message) from fault


def _require_no_place(hospital: Hospital, email: str) -> None:
    member = member_by_email(hospital, email)
    if member is not None:
        raise ValidationError(ALREADY_MEMBER if member.is_active else DEACTIVATED)


def _pending_again(invitation: Invitation) -> Invitation:
    found = Invitation.objects.pending().filter(pk=invitation.pk).first()
    if found is None:
        raise ValidationError(NOT_PENDING)
    return found


def token_new() -> str:
    """Return the secret of a link: 256 random bits."""
    return secrets.token_urlsafe(32)


def _renew(invitation: Invitation, mail_from: str) -> str:
    """Save an invitation with a new token and term, due to be mailed or not; return the token."""
    token = first_password() if invitation.by_hand else token_new()
    invitation.token_hash = hash_of(token)
    invitation.expires_at = timezone.now() + timedelta(days=settings.INVITATION_DAYS)
    invitation.mailed_at = None
    invitation.link_origin = "" if invitation.by_hand else mail_from
    invitation.mail_due_at = timezone.now() if invitation.link_origin else None
    invitation.mail_tries = 0
    invitation.full_clean(validate_constraints=False, validate_unique=False)
    try:
        invitation.save()
    except IntegrityError as error:
        raise ValidationError(ALREADY_INVITED) from error
    return token


def _offer(invitation: Invitation) -> dict:
    return {
        "email": invitation.email,
        "name": invitation.name,
        "roles": list(invitation.roles),
        "expires_at": invitation.expires_at,
    }


def _record(action: Action, invitation: Invitation, **states) -> None:
    audit_record(
        action=action,
        subject_kind=INVITATION,
        subject_id=invitation.pk,
        hospital_id=invitation.hospital_id,
        **states,
    )
