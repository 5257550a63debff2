"""A pytest plugin: two hospitals with everybody in them, sign-in, and a quick clean database.

Loaded by drservice.testing.services once Django is set up, as it needs models.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from django.db import connection
from django.test import AsyncClient, Client, TransactionTestCase
from pymongo import WriteConcern
from pymongo.errors import OperationFailure

from accounts.audit import store
from accounts.audit.open_keys import forget_open_keys
from accounts.keys.key_ring import forget_keys
from accounts.limits import middleware
from accounts.models import Hospital, User
from accounts.permissions import Role
from accounts.sign_in import guesses
from accounts.tests.factories import make_hospital, make_member, make_user

# Written by migrations and needed by every test; Django would delete and rebuild them each time.
KEPT_COLLECTIONS = {"django_migrations", "django_content_type", "auth_permission"}


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
    return TwoHospitals(
        a=_hospital_with_people("Hospital A"),
        b=_hospital_with_people("Hospital B"),
        stranger=make_user(name="A stranger"),
        operator=make_user(name="An operator", is_operator=True),
    )


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


@pytest.fixture(scope="session", autouse=True)
def room_for_all_attempts() -> Iterator[None]:
    """Let the whole suite sign in from one address; tests of the limit set one of their own."""
    with pytest.MonkeyPatch.context() as patch:
        for module, limit in ((middleware, "ATTEMPTS"), (guesses, "FAILURES")):
            patch.setattr(module, limit, replace(getattr(module, limit), most=1_000_000))
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_clearing() -> Iterator[None]:
    """Empty what a test wrote, and only that: about 5 ms where Django's flush takes 70."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _clear_database)
        yield


def _clear_database(test_case: TransactionTestCase) -> None:
    # The keys go with everything else; one that lingered would seal what nobody can open.
    forget_keys()
    forget_open_keys()
    quickly = WriteConcern(w=1, j=False)
    for name in connection.database.list_collection_names():
        if name in KEPT_COLLECTIONS or name.startswith("system."):
            continue
        collection = connection.database.get_collection(name, write_concern=quickly)
        if collection.find_one({}, {"_id": 1}) is not None:
            collection.delete_many({})


def _hospital_with_people(name: str) -> HospitalWithPeople:
    hospital = make_hospital(name)
    people = {
        role.value: make_member(hospital, role, name=f"{role.label} of {name}") for role in Role
    }
    return HospitalWithPeople(hospital, people)
