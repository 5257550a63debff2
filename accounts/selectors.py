"""Read people, hospitals and memberships."""

import datetime as dt
from dataclasses import dataclass

from django.apps import apps
from django.db.models import Count, Max, QuerySet

from accounts.models import Hospital, Membership, User
from accounts.permissions import Role

# Recovery codes alone are none: they only stand in for one that is lost.
SECOND_FACTORS = ("totp", "webauthn")


@dataclass(frozen=True)
class PeopleFigures:
    """How many people may work in a hospital, and when one of them was last seen there."""

    people: int = 0
    last_seen_at: dt.datetime | None = None


def memberships_of(user: User) -> list[Membership]:
    """Return a person's active memberships in active hospitals, oldest first.

    Each carries its hospital: two indexed reads rather than a join. Operators have none, whatever
    a hospital's admin entered: who runs the service sees no patient.
    """
    if user.is_operator:
        return []
    memberships = Membership.objects.active().filter(user=user).order_by("created_at", "pk")
    memberships = list(memberships)
    hospitals = _active_hospitals([membership.hospital_id for membership in memberships])
    return [
        _with_hospital(membership, hospitals[membership.hospital_id])
        for membership in memberships
        if membership.hospital_id in hospitals
    ]


def member_list(hospital: Hospital) -> list[Membership]:
    """Return every membership of a hospital with its person, active first, then by name."""
    memberships = list(Membership.objects.filter(hospital=hospital))
    people = User.objects.in_bulk([membership.user_id for membership in memberships])
    for membership in memberships:
        membership.user = people[membership.user_id]
        membership.hospital = hospital
    return sorted(memberships, key=lambda one: (not one.is_active, one.name.casefold()))


def active_admins(hospital_id) -> list[Membership]:
    """Return the memberships through which a hospital's people can be managed right now."""
    members = Membership.objects.active().filter(hospital_id=hospital_id)
    admins = [member for member in members if Role.HOSPITAL_ADMIN in member.roles]
    people = User.objects.filter(is_active=True, is_operator=False)
    usable = people.in_bulk([admin.user_id for admin in admins])
    return [admin for admin in admins if admin.user_id in usable]


def hospital_by_name(name: str) -> Hospital | None:
    return Hospital.objects.filter(name=name).first()


def hospital_list() -> QuerySet[Hospital]:
    return Hospital.objects.order_by("name")


def hospital_search(*, name: str = "", is_active: bool | None = None) -> QuerySet[Hospital]:
    """Return the hospitals with `name` in their name, open or closed as asked, by name."""
    found = hospital_list().filter(name__icontains=name) if name else hospital_list()
    return found if is_active is None else found.filter(is_active=is_active)


def people_figures(hospital_pks: list) -> dict:
    """Count the active members of some hospitals, by the hospital's key."""
    members = Membership.objects.active().filter(hospital_id__in=hospital_pks)
    grouped = members.values("hospital_id").order_by()
    counted = grouped.annotate(people=Count("pk"), seen=Max("last_seen_at"))
    return {row["hospital_id"]: PeopleFigures(row["people"], row["seen"]) for row in counted}


def operator_list() -> list[User]:
    """Return every platform operator, active first, then by name."""
    operators = User.objects.filter(is_operator=True)
    return sorted(operators, key=lambda one: (not one.is_active, one.name.casefold()))


def active_operators() -> list[User]:
    return [one for one in operator_list() if one.is_active]


def user_by_email(email: str) -> User | None:
    return User.objects.filter(email=email.strip().lower()).first()


def has_mfa(user_ids: list) -> set:
    """Return those of the given people who have a second factor: an app's codes or a passkey."""
    if not apps.is_installed("allauth.mfa"):
        return set()
    authenticators = apps.get_model("mfa", "Authenticator").objects
    factors = authenticators.filter(user_id__in=user_ids, type__in=SECOND_FACTORS)
    return set(factors.values_list("user_id", flat=True))


def _active_hospitals(pks: list) -> dict:
    return Hospital.objects.filter(is_active=True).in_bulk(pks) if pks else {}


def _with_hospital(membership: Membership, hospital: Hospital) -> Membership:
    membership.hospital = hospital
    return membership
