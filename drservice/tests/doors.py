"""Walk the doors of drservice.tests.door_table: who knocks, what should happen, what does."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from accounts.access import Access
from accounts.models import Membership, User
from accounts.permissions import Capability, capabilities_of
from accounts.tests.factories import make_member, make_user
from drservice.testing.fixtures import TwoHospitals
from drservice.tests import door_table
from drservice.tests.door_table import HospitalA

SIGN_IN, CHOOSE_PASSWORD = "/accounts/sign-in/", "/accounts/password/"
LETS_IN, TO_SIGN_IN, TO_PASSWORD = "in", "to sign-in", "to a password of one's own"
NOT_FOUND, FORBIDDEN, WRONG_METHOD = "404", "403", "405"
# A door that let somebody in: shown, sent on, refused the entry of a form, or not ready yet.
INSIDE = {200, 302, 400, 409, 422}
BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True)
class Row:
    name: str
    methods: frozenset[str]
    who: str
    what: str
    hidden: bool = False
    personal: bool = False

    @property
    def mark(self) -> Access:
        anonymous = "not-found" if self.hidden else "sign-in"
        if self.who in ("public", "signed-in", "operator"):
            return Access(self.who, None, anonymous)
        return Access("member", Capability(self.who), anonymous)

    @property
    def has_foreign_object(self) -> bool:
        """Whether the address names something that belongs to one hospital or one person."""
        return self.what not in ("-", "hospital") and self.who != "public"

    def is_foreign_to(self, person: "Person") -> bool:
        """Whether nothing that the address may name is there for somebody behind the door."""
        if self.who == "operator":
            return not person.is_operator
        return self.personal or (
            self.what != "-" and self.who != "public" and person.works_in != "A"
        )


@dataclass(frozen=True)
class Person:
    """Somebody who tries a door; `works_in` is "A", "B" or empty, `user` None for anonymous."""

    title: str
    user: User | None = None
    works_in: str = ""
    roles: tuple[str, ...] = ()
    must_change_password: bool = False

    @property
    def is_operator(self) -> bool:
        return self.user is not None and self.user.is_operator


def read_table(text: str = door_table.TABLE) -> dict[str, Row]:
    rows = [_row(*line.split()) for line in text.strip().splitlines()[1:]]
    by_name = {row.name: row for row in rows}
    assert len(by_name) == len(rows), "A URL has two rows."
    return by_name


def _row(name: str, methods: str, who: str, what: str) -> Row:
    return Row(
        name,
        frozenset(methods.split(",")),
        who.removeprefix("="),
        what.removeprefix("~"),
        hidden=who.startswith("="),
        personal=what.startswith("~"),
    )


ROWS = read_table()


def every_url(patterns=None, namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLPattern):
            yield f"{namespace}{pattern.name}", pattern
        else:
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from every_url(pattern.url_patterns, inner)


def everybody(two_hospitals: TwoHospitals) -> list[Person]:
    a, b = two_hospitals.a.hospital, two_hospitals.b.hospital
    roles = tuple(two_hospitals.a.people)
    newcomer = make_member(a, *roles, must_change_password=True)
    new_operator = make_user(is_operator=True, must_change_password=True)
    deactivated = make_member(a, *roles)
    Membership.objects.filter(user=deactivated).update(is_active=False)
    without_roles = make_user()
    Membership(user=without_roles, hospital=a, name="No role", roles=[]).save()
    return [
        Person("anonymous"),
        Person("stranger", two_hospitals.stranger),
        Person("operator", two_hospitals.operator),
        Person("new operator", new_operator, must_change_password=True),
        Person("deactivated in A", deactivated),
        Person("without roles in A", without_roles, "A"),
        Person("newcomer in A", newcomer, "A", roles, must_change_password=True),
        *(Person(f"{role} of A", u, "A", (role,)) for role, u in two_hospitals.a.people.items()),
        *(Person(f"{role} of B", u, "B", (role,)) for role, u in two_hospitals.b.people.items()),
        everything_in("A", a, roles),
        everything_in("B", b, roles),
    ]


def everything_in(letter: str, hospital, roles: tuple[str, ...]) -> Person:
    return Person(f"everything in {letter}", make_member(hospital, *roles), letter, roles)


def expected(row: Row, method: str, person: Person) -> str:
    refusal = refusal_at_the_door(row, person)
    if refusal:
        return refusal
    if method not in row.methods:
        return WRONG_METHOD
    if row.is_foreign_to(person):
        return NOT_FOUND
    return _way_on(row, person)


def _way_on(row: Row, person: Person) -> str:
    if row.name in door_table.LEADS_TO_SIGN_IN:
        return TO_SIGN_IN
    if person.user is None and row.name in door_table.LEADS_THE_ANONYMOUS_TO_SIGN_IN:
        return TO_SIGN_IN
    if row.name in door_table.LEADS_TO_PASSWORD and person.must_change_password:
        return TO_PASSWORD
    return LETS_IN


def refusal_at_the_door(row: Row, person: Person) -> str:
    """Return what somebody is told before any object is looked up; empty when they get past."""
    if row.who == "public":
        return ""
    if person.user is None:
        return NOT_FOUND if row.hidden else TO_SIGN_IN
    if row.who == "signed-in":
        return ""
    if row.who == "operator":
        if not person.is_operator:
            return NOT_FOUND
        return TO_PASSWORD if person.must_change_password else ""
    if not person.works_in:
        return NOT_FOUND
    if row.who not in capabilities_of(person.roles):
        return FORBIDDEN
    return TO_PASSWORD if person.must_change_password else ""


def observed(response: HttpResponse) -> str:
    location = response.get("Location", "")
    if response.status_code == 302 and location.startswith(SIGN_IN):
        return TO_SIGN_IN
    if response.status_code == 302 and location == CHOOSE_PASSWORD:
        return TO_PASSWORD
    return LETS_IN if response.status_code in INSIDE else str(response.status_code)


def address_of(row: Row, arguments: dict) -> str:
    return reverse(row.name, kwargs=arguments)


def fields_of(row: Row, a: HospitalA) -> dict:
    return door_table.POSTED.get(row.name, lambda a: {})(a)


class Knocker:
    """Knocks at doors as each of the people, signed in once each and again after signing out."""

    def __init__(self, **options) -> None:
        self._options = options
        self._clients: dict[str, Client] = {}

    def client_of(self, person: Person) -> Client:
        """Return somebody's client, signed in."""
        client = self._clients.setdefault(person.title, Client(**self._options))
        if person.user is not None and not _is_signed_in(client):
            # Doors that end sessions count up what a session is checked against.
            person.user.refresh_from_db(fields=["sessions_version"])
            client.force_login(person.user, backend=BACKEND)
        return client

    def knock(self, person: Person, method: str, address: str, fields: dict | None = None):
        sent = (fields or {}) if method == "POST" else None
        return getattr(self.client_of(person), method.lower())(address, sent)


def _is_signed_in(client: Client) -> bool:
    # After signing out the session goes on, to say so on the next page.
    cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
    return cookie is not None and cookie.value != "" and SESSION_KEY in client.session
