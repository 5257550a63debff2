"""Change hospitals, people and memberships."""

from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import Hospital, Membership, User
from accounts.permissions import Role


def hospital_create(*, name: str) -> Hospital:
    """Make a hospital. Raises ValidationError when the name is taken or empty."""
    hospital = Hospital(name=name.strip())
    hospital.full_clean()
    hospital.save()
    return hospital


def user_create(*, email: str, name: str, password: str | None = None) -> User:
    """Make a person. Raises ValidationError when the e-mail is taken or not an address."""
    return User.objects.create_user(email, password, name=name)


def membership_create(*, user: User, hospital: Hospital, roles: list[str]) -> Membership:
    """Give a person a place in a hospital. Raises ValidationError when they have one already."""
    membership = Membership(user=user, hospital=hospital, roles=roles, created_at=timezone.now())
    membership.full_clean()
    membership.save()
    return membership


def membership_set_roles(*, membership: Membership, roles: list[str]) -> Membership:
    """Replace a member's roles. Raises ValidationError when no active admin would be left."""
    if Role.HOSPITAL_ADMIN not in roles:
        _require_another_admin(membership)
    membership.roles = roles
    membership.full_clean()
    membership.save(update_fields=["roles"])
    return membership


def membership_deactivate(*, membership: Membership) -> Membership:
    """Shut a member out from their next request on. Raises ValidationError for the last admin."""
    _require_another_admin(membership)
    membership.is_active = False
    membership.save(update_fields=["is_active"])
    return membership


def membership_activate(*, membership: Membership) -> Membership:
    """Let a deactivated member in again, with the roles they had."""
    membership.is_active = True
    membership.save(update_fields=["is_active"])
    return membership


def _require_another_admin(membership: Membership) -> None:
    others = Membership.objects.active().filter(hospital_id=membership.hospital_id)
    others = others.exclude(pk=membership.pk)
    if any(Role.HOSPITAL_ADMIN in other.roles for other in others):
        return
    if Role.HOSPITAL_ADMIN not in membership.roles:
        return
    raise ValidationError(
        "This is the hospital's last active admin. Make somebody else an admin first."
    )
