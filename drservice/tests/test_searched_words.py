"""No address holds what people are searched by: names, numbers, telephones, e-mails.

One test reads the templates, one the code, one asks every page: a new search field that would put
its words into an address fails one of them on its first day.
"""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from accounts.audit_pages.filters import AuditFilterForm
from accounts.people.forms import MemberFilterForm
from drservice.tests.doors import BACKEND, ROWS, address_of

ROOT = Path(settings.BASE_DIR)
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
APPS = ("accounts", "workspace", "inference", "training", "drservice")
SOURCES = [
    path
    for app in APPS
    for path in sorted((ROOT / app).rglob("*.py"))
    if not {"tests", "testing", "migrations"} & set(path.parts)
]
# Fields of forms that put what was filled in into an address: they name hospitals, and no person.
FIELDS_IN_ADDRESSES = {"operators/hospital_list.html": {"q", "state"}}
# What views take out of an address: places in lists, kinds, ids, and a way back after signing in.
PARAMETERS = {
    ("drservice/common/list_pages.py", "page"),
    ("accounts/searches.py", "ID_PARAMETER"),
    ("accounts/people/views/invitations.py", "state"),
    ("accounts/audit_pages/views.py", "below"),
    ("accounts/sign_in/destinations.py", "next"),
    ("workspace/views/cases.py", "state"),
    ("workspace/views/cases.py", "seen"),
    # A part of a hospital's name.
    ("drservice/operators/views/hospitals.py", "q"),
    ("drservice/operators/views/hospitals.py", "state"),
    ("drservice/operators/views/hospitals.py", "page"),
}
# Forms that read an address as a whole, and their fields that are no choice from a list.
FORMS_OF_ADDRESSES = {
    "accounts/people/views/members.py": set(),
    "accounts/audit_pages/views.py": {"record", "since", "until"},
}
# Takes the address apart and puts it back, without what the provider sent.
REWRITES_ADDRESSES = {"accounts/sign_in/views/oidc.py"}
MARK = "quillfeather"
PERSONAL = ("words", "q", "search", "name", "mrn", "phone", "email", "birth_date", "patient")


class AddressForms(HTMLParser):
    """Collects the fields that a browser or htmx would put into an address."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: set[str] = set()
        self._method = ""
        # Tags of the template language would confuse the parser inside of HTML tags.
        self.feed(re.sub(r"\{%.*?%\}", "", text))

    def handle_starttag(self, tag: str, attributes: list) -> None:
        known = dict(attributes)
        if tag == "form":
            # Without a word a browser takes `get`.
            self._method = "get" if "hx-get" in known else known.get("method", "get").lower()
        sends = "hx-get" in known or "hx-include" in known or known.get("formmethod") == "get"
        in_address = self._method == "get" or sends
        if tag in ("input", "select", "textarea") and in_address:
            self.fields.add(known.get("name", "?"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._method = ""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_form_puts_words_about_people_into_an_address():
    found = {
        str(path.relative_to(ROOT / "templates")): AddressForms(path.read_text()).fields
        for path in TEMPLATES
    }
    assert {name: fields for name, fields in found.items() if fields} == FIELDS_IN_ADDRESSES


@pytest.mark.parametrize(
    "text",
    [
        '<form><input name="q"></form>',
        '<form method="GET"><textarea name="q"></textarea></form>',
        '<form method="post" hx-get="/x/"><input name="q"></form>',
        '<form method="post"><input name="q" {% if a %}hx-get="/x/"{% endif %}></form>',
        '<input name="q" hx-get="/patients/">',
    ],
)
def test_form_that_puts_its_words_into_an_address_is_noticed(text):
    assert AddressForms(text).fields == {"q"}


def test_form_that_sends_its_words_in_a_body_is_let_pass():
    text = '<form method="post" hx-post="/x/"><input name="q"></form><input name="elsewhere">'
    assert AddressForms(text).fields == set()


def uses_of_addresses(path: Path) -> Iterator[str]:
    """Give the parameter of each look at an address; "*" where it is taken as a whole."""
    tree = ast.parse(path.read_text())
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "GET":
            yield _parameter(node, parents)


def _parameter(node: ast.AST, parents: dict) -> str:
    """Return what `request.GET.get("…")` asks for, also with `(posted(request) or request.GET)`."""
    around = parents[node]
    if isinstance(around, ast.BoolOp):
        node, around = around, parents[around]
    call = parents.get(around)
    asks = isinstance(around, ast.Attribute) and around.attr in ("get", "getlist")
    if not asks or not isinstance(call, ast.Call):
        return "*"
    asked = call.args[0]
    return asked.value if isinstance(asked, ast.Constant) else ast.unparse(asked)


def test_views_take_ids_and_places_out_of_addresses_and_no_words():
    found = {(name_of(path), asked) for path in SOURCES for asked in uses_of_addresses(path)}
    wholes = {(name, "*") for name in {*FORMS_OF_ADDRESSES, *REWRITES_ADDRESSES}}
    assert found == PARAMETERS | wholes


@pytest.mark.django_db
def test_forms_that_read_addresses_take_choices_ids_and_days(two_hospitals):
    people, trail = MemberFilterForm({}), AuditFilterForm({}, hospital=two_hospitals.a.hospital)
    for form, free in zip((people, trail), FORMS_OF_ADDRESSES.values(), strict=True):
        typed = {name for name, field in form.fields.items() if not hasattr(field, "choices")}
        assert typed == free
    filled = {"record": MARK, "since": MARK, "until": MARK}
    assert set(AuditFilterForm(filled, hospital=two_hospitals.a.hospital).errors) == set(filled)


@pytest.mark.django_db
def test_no_page_takes_words_about_people_from_its_address(people, objects_of_a):
    """It neither shows them nor hands them on to the next page."""
    [insider] = [person for person in people if person.title == "everything in A"]
    client = Client()
    client.force_login(insider.user, backend=BACKEND)
    asked = dict.fromkeys(PERSONAL, MARK)
    shown = []
    for row in ROWS.values():
        if "GET" not in row.methods or row.mark.kind != "member" or row.name.endswith("-events"):
            continue
        page = client.get(address_of(row, objects_of_a[row.what]), asked)
        if not page.streaming and MARK in page.text:
            shown.append(row.name)
        assert MARK not in page.get("Location", ""), row.name
    assert shown == []
