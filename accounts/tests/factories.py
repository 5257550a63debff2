"""Hospitals and people for tests; every value that doesn't matter is made up and unique."""

from itertools import count

from accounts.models import Hospital, User
from accounts.permissions import Role
from accounts.services import hospital_create, membership_create, user_create

PASSWORD = "correct horse battery"
_numbers = count(1)


def make_hospital(name: str = "") -> Hospital:
    return hospital_create(name=name or f"Hospital {next(_numbers)}")


def make_user(**fields) -> User:
    number = next(_numbers)
    fields = {"email": f"person{number}@example.org", "name": f"Person {number}", **fields}
    return user_create(password=PASSWORD, **fields)


def make_member(hospital: Hospital, *roles: Role, **fields) -> User:
    user = make_user(**fields)
    membership_create(user=user, hospital=hospital, roles=list(roles))
    return user
