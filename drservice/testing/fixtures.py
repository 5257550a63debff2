"""A pytest plugin: two hospitals with everybody in them, sign-in, and a quick clean database.

Loaded by drservice.testing.services once Django is set up, as it needs models.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
import redis
from django.contrib.auth import hashers
from django.test import AsyncClient, Client, TransactionTestCase
from pymongo.errors import OperationFailure

from accounts.audit import store
from accounts.limits import middleware
from accounts.models import Hospital, Membership, User
from accounts.permissions import Role
from accounts.sign_in import guesses
from accounts.sign_in.views import entrance
from accounts.tests.factories import new_membership, new_user
from drservice.testing.clearing import Clearing


@dataclass(frozen=True)
class HospitalWithPeople:
    """A hospital and one person for each role, by the role's value."""

    hospital: Hospital
    people: dict[str, User] = field(default_factory=dict)

    @property
    def staff(self) -> User:
        return self.people[Role.STAFF]

    @property
    def grader(self) -> User:
        return self.people[Role.GRADER]

    @property
    def arbitrator(self) -> User:
        return self.people[Role.ARBITRATOR]

    @property
    def admin(self) -> User:
        return self.people[Role.HOSPITAL_ADMIN]

    @property
    def auditor(self) -> User:
        return self.people[Role.AUDITOR]


@dataclass(frozen=True)
class TwoHospitals:
    """Two of everything: what A may do is what B must not, and strangers not at all."""

    a: HospitalWithPeople
    b: HospitalWithPeople
    stranger: User
    operator: User


@pytest.fixture
def two_hospitals(db) -> TwoHospitals:
    """Three commands write what the services would in sixty, which most tests would wait for."""
    a, b = Hospital.objects.bulk_create([Hospital(name="Hospital A"), Hospital(name="Hospital B")])
    in_a, in_b = _one_for_each_role(a), _one_for_each_role(b)
    stranger = new_user(name="A stranger")
    operator = new_user(name="An operator", is_operator=True)
    User.objects.bulk_create([*in_a.values(), *in_b.values(), stranger, operator])
    Membership.objects.bulk_create(
        new_membership(user, hospital, role)
        for hospital, people in ((a, in_a), (b, in_b))
        for role, user in people.items()
    )
    return TwoHospitals(
        HospitalWithPeople(a, in_a), HospitalWithPeople(b, in_b), stranger, operator
    )


def _one_for_each_role(hospital: Hospital) -> dict[str, User]:
    return {role.value: new_user(name=f"{role.label} of {hospital.name}") for role in Role}


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """Return a function that gives a client with a person signed in."""

    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return signed_in


@pytest.fixture
def async_client_of() -> Callable[[User], AsyncClient]:
    """Return a function that gives an asynchronous client with a person signed in."""

    def signed_in(user: User) -> AsyncClient:
        client = AsyncClient()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return signed_in


@pytest.fixture
def audit_refused() -> Callable:
    """Return a context in which no event can be written to the audit trail, the rest can."""

    @contextmanager
    def refused() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "event_insert", _refuse_event)
            yield

    return refused


def _refuse_event(event: dict) -> None:
    raise OperationFailure("a test lets the audit trail refuse")


@pytest.fixture
def hashings(monkeypatch) -> list[str]:
    """Collect how often a password is hashed, which is what takes the time."""
    counted = []
    encode = hashers.MD5PasswordHasher.encode

    def count(self, password, salt):
        counted.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(hashers.MD5PasswordHasher, "encode", count)
    return counted


@pytest.fixture(scope="session", autouse=True)
def room_for_all_attempts() -> Iterator[None]:
    """Let the whole suite sign in from one address; tests of the limit set one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        limits = ((middleware, "ATTEMPTS"), (guesses, "FAILURES"), (guesses, "ACCOUNT"))
        for module, limit in limits:
            patch.setattr(module, limit, replace(getattr(module, limit), most=1_000_000))
        patch.setattr(entrance, "REFUSED_AFTER_S", 0)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_clearing() -> Iterator[None]:
    """Empty what a test wrote, and only that: about 3 ms where Django's flush takes 70."""
    with (
        redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=5) as redis_client,
        pytest.MonkeyPatch.context() as patch,
    ):
        clearing = Clearing(redis_client)
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda test_case: clearing.clear())
        yield
