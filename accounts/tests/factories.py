"""Hospitals and people for tests; every value that doesn't matter is made up and unique."""

from datetime import timedelta
from itertools import count

from django.utils import timezone

from accounts.models import Hospital, Invitation, Membership, User, invited_hash
from accounts.people.services import hash_of
from accounts.permissions import Role
from accounts.services import hospital_create, user_create

PASSWORD = "correct horse battery"
_numbers = count(1)


def make_hospital(name: str = "") -> Hospital:
    return hospital_create(name=name or f"Hospital {next(_numbers)}")


def make_user(**fields) -> User:
    return user_create(password=PASSWORD, **_made_up(fields))


def new_user(**fields) -> User:
    """Return a person who is not stored yet, as `make_user` would make them."""
    user = User(**_made_up(fields))
    user.set_password(PASSWORD)
    return user


def _made_up(fields: dict) -> dict:
    number = next(_numbers)
    return {"email": f"person{number}@example.org", "name": f"Person {number}", **fields}


def make_invitation(hospital: Hospital, *roles: Role, **fields) -> Invitation:
    """Make an invitation; its token is what `token_of` says of its address."""
    number = next(_numbers)
    values = {
        "email": f"invited{number}@example.org",
        "name": f"Invited {number}",
        "expires_at": timezone.now() + timedelta(days=1),
        "invited_by": make_user(),
        **fields,
    }
    roles = list(roles or [Role.STAFF])
    token_hash = hash_of(token_of(values["email"], hospital))
    email_hash = invited_hash(values["email"], hospital.pk)
    return Invitation.objects.create(
        hospital=hospital, roles=roles, token_hash=token_hash, email_hash=email_hash, **values
    )


def token_of(email: str, hospital: Hospital) -> str:
    return f"token-{hospital.pk}-{email.partition('@')[0]}"


def make_member(hospital: Hospital, *roles: Role, **fields) -> User:
    user = make_user(**fields)
    make_membership(user, hospital, *roles)
    return user


def make_membership(user: User, hospital: Hospital, *roles: Role) -> Membership:
    """Place a person in a hospital without an event of it: most tests are about something else."""
    membership = new_membership(user, hospital, *roles)
    membership.save(force_insert=True)
    return membership


def new_membership(user: User, hospital: Hospital, *roles: Role) -> Membership:
    in_order = [role for role in Role if role in roles]
    return Membership(user=user, hospital=hospital, name=user.name, roles=in_order)
