"""Read people, hospitals and memberships."""

from bson import ObjectId
from django.db.models import QuerySet

from accounts.models import Hospital, Membership, User


def memberships_of(user: User) -> QuerySet[Membership]:
    """Return a person's active memberships, oldest first."""
    return Membership.objects.active().filter(user=user).order_by("created_at", "pk")


def membership_active(*, user: User, hospital_id: ObjectId) -> Membership | None:
    """Return the person's active membership in one hospital, or None."""
    return Membership.objects.active().filter(user=user, hospital_id=hospital_id).first()


def memberships_in(hospital: Hospital) -> QuerySet[Membership]:
    """Return every membership of a hospital, active first, then by age."""
    return Membership.objects.filter(hospital=hospital).order_by("-is_active", "created_at", "pk")


def hospital_by_name(name: str) -> Hospital | None:
    return Hospital.objects.filter(name=name).first()
