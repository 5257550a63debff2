"""Odd values in every field and every address: a clear answer, never an error of the service.

Fields are taken from the pages' own forms, so that a new one is tried from its first day.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from django.test import Client
from django.urls import reverse

from drservice.tests.door_table import missing
from drservice.tests.doors import ROWS, Knocker, Person, Row, address_of, fields_of

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(900)]

# Parameters of addresses, and fields of forms that only a case in another state shows.
PARAMETERS = ("q", "page", "state", "seen", "next", "below", "from", "to", "action")
PARAMETERS += ("notes", "camera", "version", "laterality", "field", "absent_eye")
MARK = "oddvalue"
ODD = {
    "NUL": f"{MARK}\0",
    "long": MARK * 5000,
    "operator": f'{{"$gt": "{MARK}"}}',
    "pattern": f"({MARK}",
    "lone surrogate": f"{MARK}\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
    "number": "9" * 400,
    "minus": "-1",
}
# These end or change who walks.
LEFT_OUT = re.compile(r"sign-out|session-close|password|mfa_|account_|transfer|member-deactivate")


class Fields(HTMLParser):
    """Collects the names of the fields of every form."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        named = dict(attributes).get("name")
        if tag in ("input", "select", "textarea", "button") and named:
            self.names.add(named)


@pytest.fixture
def walkers(people) -> list[Person]:
    wanted = ("anonymous", "operator", "everything in A")
    return [person for person in people if person.title in wanted]


def rows_for(person: Person) -> Iterator[Row]:
    for row in ROWS.values():
        if LEFT_OUT.search(row.name) or row.name.endswith("-events"):
            continue
        kinds = {"anonymous": "public", "operator": "operator", "everything in A": "member"}
        if row.mark.kind == kinds[person.title]:
            yield row


def fields_of_pages(knocker: Knocker, walkers: list[Person], objects: dict) -> set[str]:
    """Return the fields of all forms on all pages."""
    found = set()
    for person in walkers:
        for row in rows_for(person):
            if "GET" in row.methods:
                page = knocker.knock(person, "GET", address_of(row, objects[row.what]))
                if not page.streaming and "html" in page.get("Content-Type", ""):
                    found |= Fields(page.text).names
    return found - {"csrfmiddlewaretoken"}


def test_odd_values_get_an_answer_and_reach_no_command(
    walkers, objects_of_a, hospital_a, tenant_commands
):
    knocker = Knocker(raise_request_exception=False)
    fields = fields_of_pages(knocker, walkers, objects_of_a)
    assert {"email", "password", "mrn", "reason", "name"} <= fields
    wrong = []
    for person in walkers:
        for row in rows_for(person):
            address = address_of(row, objects_of_a[row.what])
            for title, sent in odd_requests(fields):
                for method in sorted(row.methods):
                    with tenant_commands.recording() as commands:
                        answer = ask(knocker, person, method, address, sent)
                    if answer.status_code >= 500:
                        wrong.append(f"{method} {row.name} answers {answer.status_code} to {title}")
                    if any(has_operator_of_sender(command) for _, command in commands):
                        wrong.append(f"{method} {row.name} sends on the operator of {title}")
    assert not wrong, "\n".join(wrong)


def odd_requests(fields: set[str]) -> Iterator[tuple[str, dict]]:
    names = [*sorted(fields), *PARAMETERS]
    for title, value in ODD.items():
        yield title, dict.fromkeys(names, value)
    yield "operators in names", {f"{name}[$ne]": MARK for name in names}
    yield "dotted names", {f"{name}.$gt": MARK for name in names}


def ask(knocker: Knocker, person: Person, method: str, address: str, sent: dict):
    client = knocker.client_of(person)
    return client.get(address, sent) if method == "GET" else client.post(address, sent)


def has_operator_of_sender(value: object) -> bool:
    """Tell whether what was sent became a question, rather than a value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("$gt", "$ne", "$where") and MARK in str(inner):
                return True
            if has_operator_of_sender(inner):
                return True
    if isinstance(value, list | tuple):
        return any(has_operator_of_sender(inner) for inner in value)
    return False


@pytest.mark.parametrize(
    "odd", ["0" * 23, "0" * 25, "Z" * 24, "%00" * 8, "..%2f..%2f", "%24ne", "0" * 4000]
)
def test_odd_addresses_are_a_missing_page(odd, walkers):
    knocker = Knocker()
    [in_a] = [person for person in walkers if person.title == "everything in A"]
    for place in ("/cases/{}/", "/patients/{}/edit/", "/cases/{}/images/{}/original"):
        assert knocker.knock(in_a, "GET", place.format(odd, odd)).status_code == 404


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\0/"],
)
def test_no_sign_in_leads_to_another_site(wanted, two_hospitals, client_of):
    client = client_of(two_hospitals.a.staff)
    answer = client.get(reverse("accounts:sign-in"), {"next": wanted})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/")


def test_missing_and_unknown_fields_are_refused_and_not_an_error(walkers, objects_of_a, hospital_a):
    knocker = Knocker()
    for person in walkers:
        for row in rows_for(person):
            if "POST" in row.methods:
                arguments = missing(objects_of_a[row.what])
                answer = knocker.knock(
                    person, "POST", address_of(row, arguments), fields_of(row, hospital_a)
                )
                assert answer.status_code < 500, row.name


@pytest.mark.parametrize("letters", ["utf-7", "utf-16"])
def test_form_in_letters_that_are_not_read_is_answered_once(letters):
    client = Client(enforce_csrf_checks=True)
    address = reverse("accounts:sign-in")
    client.get(address)
    kind = f"application/x-www-form-urlencoded; charset={letters}"
    answer = client.post(address, "email=a", content_type=kind)
    assert answer.status_code == 400
    assert "could not be read" in answer.text
