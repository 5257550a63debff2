"""Who may enter where: every URL, every method, every role of two hospitals, and strangers.

The table below names each URL once. A URL without a row, a row without a URL, and a view whose
mark says something else than its row all fail here; then every person tries every door.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from bson import ObjectId
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from accounts.access import Access
from accounts.models import Membership, User
from accounts.permissions import Capability, capabilities_of
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_member, make_user
from drservice.testing.pages import body_without_token
from workspace.models import Case
from workspace.schemas import Laterality
from workspace.services import case_claim, case_complete, case_submit
from workspace.tests.factories import make_case, make_image, make_patient, make_result

# `who` is public, signed-in, or the capability that a member needs; an `=` before it stands for
# a door that strangers can't even see: what is fetched by a page is a 404 to the anonymous,
# while pages lead them to sign-in. `what` is the object in the address, always one of hospital A.
TABLE = """
name                        methods   who             what
accounts:start              GET       signed-in       -
accounts:sign-in            GET,POST  public          -
accounts:sign-out           POST      signed-in       -
accounts:password-change    GET,POST  signed-in       -
accounts:hospital-switch    POST      signed-in       hospital
accounts:member-list        GET       manage_people   -
accounts:member-create      GET,POST  manage_people   -
accounts:member-update      GET,POST  manage_people   membership
accounts:member-deactivate  POST      manage_people   membership
accounts:member-activate    POST      manage_people   membership
workspace:home              GET       signed-in       -
workspace:patient-list      GET       see_records     -
workspace:patient-create    GET,POST  edit_patients   -
workspace:patient-detail    GET       see_records     patient
workspace:patient-update    GET,POST  edit_patients   patient
workspace:case-create       GET,POST  capture_cases   patient
workspace:case-list         GET       see_records     -
workspace:worklist-events   GET       =see_records    -
workspace:case-detail       GET       see_records     case
workspace:case-details      GET,POST  capture_cases   case
workspace:case-submit       GET,POST  capture_cases   case
workspace:case-cancel       POST      capture_cases   case
workspace:case-end-retakes  POST      capture_cases   case
workspace:case-status       GET       =see_records    case
workspace:case-events       GET       =see_records    case
workspace:case-photographs  GET       capture_cases   case
workspace:case-image-add    POST      capture_cases   case
workspace:image-label       POST      capture_cases   image
workspace:image-remove      POST      capture_cases   image
workspace:image-original    GET       =see_records    image
workspace:image-display     GET       =see_records    image
workspace:image-thumbnail   GET       =see_records    image
workspace:image-heatmap     GET       =see_records    image
alive                       GET       public          -
ready                       GET       public          -
"""

SIGN_IN, CHOOSE_PASSWORD = "/accounts/sign-in/", "/accounts/password/"
LETS_IN, TO_SIGN_IN, TO_PASSWORD = "in", "to sign-in", "to a password of one's own"
NOT_FOUND, FORBIDDEN, WRONG_METHOD = "404", "403", "405"
# A door that let somebody in: shown, sent on, refused the entry of a form, or not ready yet.
INSIDE = {200, 302, 400, 409, 422}


@dataclass(frozen=True)
class Row:
    name: str
    methods: frozenset[str]
    who: str
    what: str
    hidden: bool

    @property
    def mark(self) -> Access:
        if self.who in ("public", "signed-in"):
            return Access(self.who)
        anonymous = "not-found" if self.hidden else "sign-in"
        return Access("member", Capability(self.who), anonymous)


@dataclass(frozen=True)
class Person:
    """Somebody who tries a door; `works_in` is "A", "B" or empty, `user` None for anonymous."""

    title: str
    user: User | None = None
    works_in: str = ""
    roles: tuple[str, ...] = ()
    must_change_password: bool = False


def read_table() -> dict[str, Row]:
    lines = TABLE.strip().splitlines()[1:]
    rows = (_row(*line.split()) for line in lines)
    return {row.name: row for row in rows}


def _row(name: str, methods: str, who: str, what: str) -> Row:
    hidden = who.startswith("=")
    return Row(name, frozenset(methods.split(",")), who.removeprefix("="), what, hidden)


def every_url(patterns=None, namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLPattern):
            yield f"{namespace}{pattern.name}", pattern
        else:
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from every_url(pattern.url_patterns, inner)


ROWS = read_table()


def test_table_names_every_url_once():
    assert len(ROWS) == len(TABLE.strip().splitlines()) - 1
    names = [name for name, _ in every_url()]
    without_a_row, without_a_url = set(names) - set(ROWS), set(ROWS) - set(names)
    assert not without_a_row
    assert not without_a_url
    assert len(names) == len(set(names))


def test_every_view_carries_the_mark_of_its_row():
    wrong = [
        f"{name} is marked {mark}, its row says {ROWS[name].mark}"
        for name, pattern in every_url()
        if name in ROWS and (mark := getattr(pattern.callback, "access", None)) != ROWS[name].mark
    ]
    assert not wrong, "\n".join(wrong)


def expected(row: Row, method: str, person: Person) -> str:
    refusal = _refusal_at_the_door(row, person)
    if refusal:
        return refusal
    if method not in row.methods:
        return WRONG_METHOD
    if row.what != "-" and person.works_in != "A":
        return NOT_FOUND
    return _way_on(row, person)


def _way_on(row: Row, person: Person) -> str:
    """Two doors let in and then lead to where others are sent who may not enter."""
    if row.name == "accounts:sign-out":
        return TO_SIGN_IN
    if row.name == "accounts:start" and person.must_change_password:
        return TO_PASSWORD
    return LETS_IN


def _refusal_at_the_door(row: Row, person: Person) -> str:
    if row.who == "public":
        return ""
    if person.user is None:
        return NOT_FOUND if row.hidden else TO_SIGN_IN
    if row.who == "signed-in":
        return ""
    if not person.works_in:
        return NOT_FOUND
    if row.who not in capabilities_of(person.roles):
        return FORBIDDEN
    return TO_PASSWORD if person.must_change_password else ""


def observed(response) -> str:
    location = response.get("Location", "")
    if response.status_code == 302 and location.startswith(SIGN_IN):
        return TO_SIGN_IN
    if response.status_code == 302 and location == CHOOSE_PASSWORD:
        return TO_PASSWORD
    return LETS_IN if response.status_code in INSIDE else str(response.status_code)


@pytest.fixture
def people(two_hospitals, settings) -> list[Person]:
    # Doors are under test, not sessions: kept in cookies they save a thousand reads.
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    a, b = two_hospitals.a.hospital, two_hospitals.b.hospital
    roles = tuple(two_hospitals.a.people)
    newcomer = make_member(a, *roles, must_change_password=True)
    deactivated = make_member(a, *roles)
    Membership.objects.filter(user=deactivated).update(is_active=False)
    without_roles = make_user()
    Membership(user=without_roles, hospital=a, name="No role", roles=[]).save()
    return [
        Person("anonymous"),
        Person("stranger", two_hospitals.stranger),
        Person("operator", two_hospitals.operator),
        Person("deactivated in A", deactivated),
        Person("without roles in A", without_roles, "A"),
        Person("newcomer in A", newcomer, "A", roles, must_change_password=True),
        *(Person(f"{role} of A", u, "A", (role,)) for role, u in two_hospitals.a.people.items()),
        *(Person(f"{role} of B", u, "B", (role,)) for role, u in two_hospitals.b.people.items()),
        Person("everything in B", make_member(b, *roles), "B", roles),
    ]


@pytest.fixture
def objects_of_a(two_hospitals) -> dict[str, dict]:
    """The arguments of an address for each kind of object, all of hospital A and all complete."""
    hospital = two_hospitals.a.hospital
    case = graded_case_with_files(make_patient(hospital))
    colleague = make_member(hospital, "auditor")
    return {
        "-": {},
        "hospital": {},
        "membership": {"pk": Membership.objects.get(user=colleague).pk},
        "patient": {"pk": case.patient_id},
        "case": {"pk": case.pk},
        "image": {"pk": case.pk, "key": case.images[0].key},
    }


def graded_case_with_files(patient) -> Case:
    content = b"the bytes of a photograph"
    case = make_case(patient, lateralities=())
    with hospital_scope(patient.hospital_id):
        for laterality in Laterality:
            image = make_image(
                laterality, sha256=hashlib.sha256(content + laterality.encode()).hexdigest()
            )
            for name in ("original", "display", "thumbnail", "heatmap"):
                stored = image.original.replace("original", name)
                default_storage.save(stored, ContentFile(content + laterality.encode()))
            case = Case.objects.add_image(pk=case.pk, image=image)
        case = case_submit(case=case, by="A nurse")
    claimed = case_claim(case_pk=str(case.pk), worker="test")
    results = [
        make_result(image, heatmap=image.original.replace("original", "heatmap"))
        for image in claimed.images
    ]
    return case_complete(case=claimed, results=results)


def posted(row: Row, hospital_pk) -> dict:
    return {"hospital": str(hospital_pk)} if row.what == "hospital" else {}


def _has_session(client: Client) -> bool:
    cookie = client.cookies.get(settings.SESSION_COOKIE_NAME)
    return cookie is not None and cookie.value != ""


class Knocker:
    """Knocks at doors as each of the people, signed in once each and again after signing out."""

    def __init__(self, **options) -> None:
        self._options = options
        self._clients: dict[str, Client] = {}

    def knock(self, person: Person, method: str, address: str, fields: dict):
        client = self._clients.setdefault(person.title, Client(**self._options))
        if person.user is not None and not _has_session(client):
            client.force_login(person.user, backend="django.contrib.auth.backends.ModelBackend")
        return getattr(client, method.lower())(address, fields if method == "POST" else None)


def test_every_door_opens_for_whom_it_should(people, objects_of_a, two_hospitals):
    knocker, wrong = Knocker(), []
    for row in ROWS.values():
        address = reverse(row.name, kwargs=objects_of_a[row.what])
        fields = posted(row, two_hospitals.a.hospital.pk)
        for person in people:
            for method in methods_to_try(row, person):
                should = expected(row, method, person)
                is_ = observed(knocker.knock(person, method, address, fields))
                if is_ != should:
                    wrong.append(f"{person.title}: {method} {row.name} is {is_}, not {should}")
    assert not wrong, "\n".join(wrong)


def methods_to_try(row: Row, person: Person) -> list[str]:
    """Both common methods for everybody; the rare ones for the people whom the door lets in."""
    rare = [] if _refusal_at_the_door(row, person) or person.works_in != "A" else ["PUT", "DELETE"]
    return ["GET", "POST", *rare]


def test_foreign_and_missing_objects_give_the_same_answer(people, objects_of_a):
    """Nobody in B, whatever their roles, can tell an object of A from one that never was."""
    knocker, wrong = Knocker(), []
    tried = {"stranger", "operator", "auditor of B", "everything in B"}
    for person in people:
        if person.title not in tried:
            continue
        for row in ROWS.values():
            if row.what in ("-", "hospital"):
                continue
            arguments = objects_of_a[row.what]
            foreign = reverse(row.name, kwargs=arguments)
            missing = reverse(row.name, kwargs={**arguments, "pk": ObjectId()})
            for method in row.methods:
                answers = [knocker.knock(person, method, one, {}) for one in (foreign, missing)]
                seen = [(a.status_code, body_without_token(a), sorted(a.items())) for a in answers]
                if seen[0] != seen[1] or seen[0][0] not in (403, 404):
                    wrong.append(f"{person.title}: {method} {row.name}")
    assert not wrong, "\n".join(wrong)


def test_lists_of_b_show_nothing_of_a(people, objects_of_a, two_hospitals):
    [in_b] = [person for person in people if person.title == "everything in B"]
    client = Client()
    client.force_login(in_b.user, backend="django.contrib.auth.backends.ModelBackend")
    for name in ("workspace:case-list", "workspace:patient-list", "accounts:member-list"):
        page = client.get(reverse(name))
        assert page.status_code == 200
        assert two_hospitals.b.hospital.name in page.text
        assert two_hospitals.a.hospital.name not in page.text
        assert "MRN-" not in page.text


def test_every_form_needs_its_security_token(people, objects_of_a):
    knocker, wrong = Knocker(enforce_csrf_checks=True), []
    for row in ROWS.values():
        if "POST" in row.methods:
            address = reverse(row.name, kwargs=objects_of_a[row.what])
            if knocker.knock(people[-1], "POST", address, {}).status_code != 403:
                wrong.append(row.name)
    assert not wrong, "\n".join(wrong)
