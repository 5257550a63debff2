"""What every answer of the service has in common, whoever asks for whatever page."""

import base64
import json
import logging
import re

import pytest
import redis
from bson import ObjectId
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.mail import BadHeaderError, EmailMessage
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent
from accounts.models import Hospital, Membership, User
from accounts.permissions import ROLE_CAPABILITIES
from accounts.scoping import hospital_scope
from accounts.tests.factories import PASSWORD, make_member, make_user
from drservice.testing.pages import body_without_token, searched
from drservice.tests.doors import (
    ROWS,
    Knocker,
    Person,
    Row,
    address_of,
    every_url,
    refusal_at_the_door,
)
from workspace.models import Case, Patient
from workspace.tests.factories import make_case, make_graded_case, make_patient
from workspace.tests.pictures import upload

pytestmark = pytest.mark.django_db(transaction=True)

PROTECTION = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# Doors that end the walk of whoever goes through them.
ENDS_THE_WALK = {"accounts:sign-out"}
STORED_FILE = re.compile(r"image-(original|display|thumbnail|heatmap)$")


def reading_rows() -> list[Row]:
    return [row for row in ROWS.values() if "GET" in row.methods and row.name not in ENDS_THE_WALK]


@pytest.fixture
def insider(people):
    """Somebody with every role of hospital A."""
    [found] = [person for person in people if person.title == "everything in A"]
    return found


@pytest.fixture(scope="module")
def walked() -> dict[str, HttpResponse]:
    """The answers of one walk, at which all tests of this module look."""
    return {}


@pytest.fixture
def answers(walked, request) -> dict[str, HttpResponse]:
    """What the service says to somebody with every role, to an operator, and to nobody known."""
    if not walked:
        walked.update(_walk(*map(request.getfixturevalue, ("people", "objects_of_a"))))
    return walked


def _walk(people: list[Person], objects_of_a: dict[str, dict]) -> dict[str, HttpResponse]:
    knocker = Knocker()
    titles = ("everything in A", "anonymous", "operator")
    asking = [person for person in people if person.title in titles]
    told = {
        f"{person.title}: {row.name}": knocker.knock(
            person, "GET", address_of(row, objects_of_a[row.what])
        )
        for row in reading_rows()
        for person in asking
    }
    strict = Client(enforce_csrf_checks=True)
    told |= {
        "no such page": Client().get("/no/such/page"),
        "no such method": Client().delete(reverse("accounts:sign-in")),
        "a form without token": strict.post(reverse("accounts:sign-in")),
        "a host of somebody else": Client().get("/", headers={"Host": "evil.example"}),
        "a style": Client().get("/static/css/drservice.css"),
        "a script": Client().get("/static/js/page.js"),
        "a drawing": Client().get("/static/img/favicon.svg"),
    }
    for answer in told.values():
        answer.close()
    return told


def test_every_answer_carries_the_protective_headers(answers):
    assert len(answers) > 2 * len(reading_rows())
    wrong = [
        f"{title}: {name} is {answer.get(name)}"
        for title, answer in answers.items()
        for name, value in PROTECTION.items()
        if answer.get(name) != value
    ]
    wrong += [
        f"{title}: {name} is not {value} but {told.get(name)}"
        for title, answer in answers.items()
        for told in [policy_of(answer)]
        for name, value in POLICY.items()
        if told.get(name) != value
    ]
    assert not wrong, "\n".join(wrong)


def policy_of(answer) -> dict[str, str]:
    told = answer.get("Content-Security-Policy", "")
    parts = [part.strip().partition(" ") for part in told.split(";")]
    return {name: value for name, _, value in parts}


def test_every_answer_over_https_asks_for_https_next_time(settings, two_hospitals, client_of):
    settings.SECURE_HSTS_SECONDS, settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = 31536000, True
    client = client_of(two_hospitals.a.staff)
    for address in ("/accounts/sign-in/", "/cases/", "/no/such/page", "/healthz"):
        told = client.get(address, secure=True)["Strict-Transport-Security"]
        assert told == "max-age=31536000; includeSubDomains"


def test_every_page_offers_to_sign_out(answers):
    whole = {
        title: answer.text
        for title, answer in answers.items()
        if title.startswith(("everything", "operator")) and _is_page(answer)
    }
    assert len(whole) > 10
    assert [title for title, text in whole.items() if "/accounts/sign-out/" not in text] == []


def _is_page(answer) -> bool:
    is_html = not answer.streaming and "text/html" in answer.get("Content-Type", "")
    return is_html and "<body" in answer.text


def test_signing_out_empties_the_browser(two_hospitals, client_of):
    answer = client_of(two_hospitals.a.staff).post(reverse("accounts:sign-out"))
    assert set(answer["Clear-Site-Data"].split(", ")) == {'"cache"', '"storage"'}


def test_admin_ends_every_session_of_a_colleague_and_of_nobody_else(two_hospitals, client_of):
    a, b = two_hospitals.a, two_hospitals.b
    admin, colleague, foreign = client_of(a.admin), client_of(a.staff), client_of(b.staff)
    assert colleague.get("/cases/").status_code == foreign.get("/cases/").status_code == 200
    for user, answer in ((a.staff, 302), (b.staff, 404)):
        pk = Membership.objects.get(user=user).pk
        assert admin.post(reverse("accounts:member-sign-out", args=[pk])).status_code == answer
    assert colleague.get("/cases/").status_code == 302
    assert foreign.get("/cases/").status_code == 200


def test_mail_takes_no_further_receivers_or_lines_from_a_form(two_hospitals, client_of):
    add = reverse("accounts:member-create")
    page = client_of(two_hospitals.a.admin)
    for email in (
        "a@example.org\nBcc: b@example.org",
        "a@example.org, b@example.org",
        "a@b\r\n\r\nx",
    ):
        fields = {"name": "Ana", "email": email, "roles": ["staff"]}
        assert page.post(add, fields).status_code == 422, email
    two_hospitals.a.hospital.name = "Lakeside\nBcc: b@example.org"
    with pytest.raises(BadHeaderError):
        EmailMessage(
            f"Invitation to {two_hospitals.a.hospital.name}", "", to=["a@b.example"]
        ).message()


def test_folders_of_static_files_are_not_listed():
    for address in ("/static/", "/static/css/", "/static/css", "/static/../manage.py", "/media/"):
        assert Client().get(address).status_code == 404


def test_addresses_hold_ids_alone():
    for name, pattern in every_url():
        kinds = {type(converter).__name__ for converter in pattern.pattern.converters.values()}
        # Ids, keys of photographs, and tokens of links that are good once.
        assert kinds <= {"ObjectIdConverter", "SlugConverter"}, name


def test_no_answer_lets_scripts_run_that_stand_in_pages(answers):
    for answer in answers.values():
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert "*" not in answer["Content-Security-Policy"]


def test_every_answer_says_what_it_is_and_in_which_letters(answers):
    for title, answer in answers.items():
        kind = answer.get("Content-Type", "")
        if answer.streaming or answer.content:
            assert kind, title
        if kind.startswith("text/") or kind.partition(";")[0].endswith("xml"):
            assert "charset=" in kind.replace('"', ""), f"{title}: {kind}"
        if kind == "application/json":
            json.loads(answer.content)


def test_no_answer_to_a_person_is_kept_by_a_cache(answers):
    for title, answer in answers.items():
        if re.search("A: (?:accounts|workspace):", title):
            name, told = title.rpartition(" ")[2], answer.get("Cache-Control", "")
            wanted = "private, no-cache" if STORED_FILE.search(name) else "no-store"
            assert wanted in told or answer.status_code in (403, 404), f"{title}: {told}"


def test_no_answer_is_for_the_pages_of_other_sites(insider, objects_of_a):
    foreign = {"Origin": "https://evil.example"}
    knocker = Knocker(headers=foreign)
    for row in reading_rows():
        answer = knocker.knock(insider, "GET", address_of(row, objects_of_a[row.what]))
        assert not [name for name in answer.headers if name.startswith("Access-Control-")], row.name
    asked = Client(headers={**foreign, "Access-Control-Request-Method": "POST"})
    assert "Access-Control-Allow-Origin" not in asked.options(reverse("accounts:sign-in")).headers


def test_no_door_knows_odd_methods(insider, objects_of_a):
    client = Client()
    client.force_login(insider.user, backend="django.contrib.auth.backends.ModelBackend")
    for row in ROWS.values():
        address = address_of(row, objects_of_a[row.what])
        for method in ("TRACE", "PATCH", "CONNECT"):
            answer = client.generic(method, address, headers={"X-Marked": "echo me"})
            assert answer.status_code in (404, 405), f"{method} {row.name}"
            assert b"echo me" not in answer.content


def records() -> dict[str, list]:
    """Return every document of the hospitals' records and people."""
    database = connection.database
    names = sorted(
        name
        for name in database.list_collection_names()
        if name.startswith(("workspace_", "accounts_", "inference_", "images."))
    )
    return {name: list(database[name].find().sort("_id")) for name in names}


def test_reading_changes_no_record(insider, objects_of_a):
    knocker = Knocker()
    knocker.knock(insider, "GET", reverse("accounts:start"))
    before = records()
    assert before["workspace_case"]
    for row in reading_rows():
        answer = knocker.knock(insider, "GET", address_of(row, objects_of_a[row.what]))
        assert answer.status_code != 405
        assert records() == before, row.name


def test_no_door_opens_without_the_second_factor_that_is_asked_for(
    people, two_hospitals, objects_of_a, settings
):
    settings.MFA_FOR_OPERATORS = True
    Hospital.objects.update(mfa_required=True)
    asking = [one for one in people if one.title in ("everything in A", "operator")]
    knocker, entered, tried = Knocker(), [], 0
    for row in ROWS.values():
        for person in asking:
            if row.who in ("public", "signed-in") or refusal_at_the_door(row, person):
                continue
            for method in row.methods:
                tried += 1
                answer = knocker.knock(person, method, address_of(row, objects_of_a[row.what]), {})
                if answer.get("Location") != reverse("mfa_index"):
                    entered.append(f"{person.title}: {method} {row.name} is {answer.status_code}")
    assert tried > 30
    assert not entered, "\n".join(entered)


# What these tell of a record is that it changed.
TELLS_NOTHING = {"workspace:case-events"}


def test_nobody_is_shown_a_record_without_an_event(hospital_a, objects_of_a):
    unkept, tried = [], 0
    for row in reading_rows():
        if row.what not in ("patient", "case", "image") or row.name in TELLS_NOTHING:
            continue
        person = make_member(hospital_a.hospital, *ROLE_CAPABILITIES)
        answer = Knocker().knock(
            Person("anew", person), "GET", address_of(row, objects_of_a[row.what])
        )
        if answer.status_code != 200:
            continue
        tried += 1
        with hospital_scope(hospital_a.hospital.pk):
            kept = AuditEvent.objects.filter(actor_id=str(person.pk), action=Action.VIEW)
            about = {event.patient_id for event in kept}
        if about != {hospital_a.case.patient_id}:
            unkept.append(row.name)
    assert tried >= 10
    assert not unkept, "these show a record and keep no event: " + ", ".join(unkept)


def test_value_in_an_address_does_not_stand_in_for_a_field(two_hospitals, client_of):
    case = make_case(make_patient(two_hospitals.a.hospital))
    client = client_of(two_hospitals.a.staff)
    cancel = reverse("workspace:case-cancel", args=[case.pk])
    client.post(f"{cancel}?reason=From+the+address", {}, headers={"X-Reason": "From a header"})
    with hospital_scope(case.hospital_id):
        assert Case.objects.get(pk=case.pk).state == case.state
    client.post(cancel, {"reason": "From the form"})
    with hospital_scope(case.hospital_id):
        assert Case.objects.get(pk=case.pk).history[-1].words == "From the form"


def test_fields_that_a_form_does_not_have_change_nothing(two_hospitals, client_of):
    a, b = two_hospitals.a, two_hospitals.b
    case = make_graded_case(make_patient(a.hospital), right=None)
    sneaked = {
        "hospital": str(b.hospital.pk), "hospital_id": str(b.hospital.pk), "state": "draft",
        "tries": "0", "attempt": "9", "created_by": "Somebody else", "search_hashes": "planted",
        "is_operator": "1", "is_superuser": "1", "must_change_password": "0", "id": "f" * 24,
        "outcome": "no_dr", "user": str(b.admin.pk), "is_active": "1",
    }  # fmt: skip
    staff, admin = client_of(a.staff), client_of(a.admin)
    new = {"mrn": "N-1", "name": "Amara Diallo", "birth_date": "1961-04-02", "sex": "F"}
    made = staff.post(reverse("workspace:patient-create"), {**sneaked, **new, "diabetes_type": "2"})
    assert made.status_code == 302
    staff.post(
        reverse("workspace:case-details", args=[case.pk]), {**sneaked, "camera": "Canon CR-2"}
    )
    colleague = Membership.objects.get(user=make_member(a.hospital, "auditor"))
    admin.post(
        reverse("accounts:member-update", args=[colleague.pk]),
        {**sneaked, "name": "Renamed", "roles": ["grader"]},
    )

    with hospital_scope(a.hospital.pk):
        patient = Patient.objects.exclude(pk=case.patient_id).get()
        changed = Case.objects.get(pk=case.pk)
    assert (patient.mrn, patient.name) == ("N-1", "Amara Diallo")
    assert "planted" not in repr(vars(patient))
    assert changed.camera == "Canon CR-2"
    for name in ("state", "tries", "attempt", "created_by", "hospital_id", "patient_id"):
        assert getattr(changed, name) == getattr(case, name), name
    after = Membership.objects.get(pk=colleague.pk)
    assert (after.name, after.roles) == ("Renamed", ["grader"])
    assert (after.hospital_id, after.user_id) == (colleague.hospital_id, colleague.user_id)
    assert User.objects.filter(is_operator=True).count() == 1


SEARCHED_LISTS = ("workspace:patient-list", "accounts:member-list", "accounts:invitation-list")
PLANTED = "<b id=planted>'\"{{ 7|add:42 }}"
ESCAPED = "&lt;b id=planted&gt;&#x27;&quot;{{ 7|add:42 }}"


def test_what_people_enter_is_shown_as_text_everywhere(people, insider, hospital_a, objects_of_a):
    case = hospital_a.case
    with hospital_scope(case.hospital_id):
        patient = Patient.objects.get(pk=case.patient_id)
    client = Client()
    client.force_login(insider.user, backend="django.contrib.auth.backends.ModelBackend")
    registered = {
        "mrn": "P-1", "name": PLANTED, "birth_date": "1961-04-02", "sex": "F",
        "diabetes_type": "2",
    }  # fmt: skip
    edit = reverse("workspace:patient-update", args=[patient.pk])
    assert client.post(edit, registered).status_code == 302
    database = connection.database
    words = {"camera": PLANTED, "notes": PLANTED, "created_by": PLANTED, "failure": PLANTED}
    database["workspace_case"].update_one({"_id": case.pk}, {"$set": words})
    Hospital.objects.filter(pk=case.hospital_id).update(name=PLANTED)
    User.objects.update(name=PLANTED)
    Membership.objects.update(name=PLANTED)

    shown_on = []
    for row in reading_rows():
        page = client.get(address_of(row, objects_of_a[row.what]))
        if page.streaming or "text/html" not in page.get("Content-Type", ""):
            continue
        assert "<b id=planted>" not in page.text, row.name
        assert "&amp;lt;b" not in page.text, row.name
        if ESCAPED in page.text:
            shown_on.append(row.name)
    assert {"workspace:patient-list", "workspace:patient-detail", "workspace:case-list",
            "workspace:case-detail", "accounts:member-list"} <= set(shown_on)  # fmt: skip
    for listing in SEARCHED_LISTS:
        found = searched(client, reverse(listing), PLANTED)
        assert ESCAPED in found.text, listing
        assert "<b id=planted>" not in found.text, listing


def test_password_fields_hide_the_entry_and_let_programs_fill_them(answers):
    fields = [
        field
        for answer in answers.values()
        if not answer.streaming and "text/html" in answer.get("Content-Type", "")
        for field in re.findall(r"<input[^>]*(?:password|passphrase)[^>]*>", answer.text)
        if not re.search('type="(?:hidden|checkbox|submit)"', field)
    ]
    assert len(fields) >= 3
    for field in fields:
        assert 'type="password"' in field
        assert re.search(r'autocomplete="(?:current|new)-password"', field)
        assert not re.search(r"onpaste|readonly|maxlength=\"(?:\d|[1-5]\d)\"", field)


def test_password_counts_letter_by_letter():
    password = "  Capitals, spaces & " + "length " * 30
    user = make_user(email="exact@example.org")
    user.set_password(password)
    user.save()
    others = [password.strip(), password.lower(), password[:72], password + " ", password.title()]
    for tried in others:
        answer = Client().post(reverse("accounts:sign-in"), sign_in_fields(user, tried))
        assert answer.status_code == 400
    answer = Client().post(reverse("accounts:sign-in"), sign_in_fields(user, password))
    assert answer.status_code == 302


def sign_in_fields(user: User, password: str = PASSWORD) -> dict[str, str]:
    return {"email": user.email, "password": password}


def test_session_key_is_long_random_and_new_at_sign_in():
    user, keys = make_user(), set()
    for _ in range(3):
        client = Client()
        planted = client.session
        planted["planted"] = True
        planted.save()
        client.post(reverse("accounts:sign-in"), sign_in_fields(user))
        assert client.session.session_key != planted.session_key
        assert not Session.objects.filter(pk=planted.session_key).exists()
        keys |= {client.session.session_key, planted.session_key}
    assert len(keys) == 6
    assert all(re.fullmatch("[a-z0-9]{32}", key) for key in keys)


def test_status_of_a_case_names_nobody(two_hospitals, client_of):
    patient = make_patient(two_hospitals.a.hospital, name="Quillfeather", mrn="MARKED-4711")
    case = make_graded_case(patient)
    answer = client_of(two_hospitals.a.staff).get(reverse("workspace:case-status", args=[case.pk]))
    assert {"case", "state", "outcome", "images"} <= answer.json().keys()
    for mark in ("Quillfeather", "MARKED-4711", "1960-01", str(patient.pk), "hospital", "A nurse"):
        assert mark not in answer.text


def test_unexpected_error_shows_nothing_of_itself(two_hospitals, client_of, monkeypatch):
    def broken(**arguments):
        raise RuntimeError("the inner works of mongodb://inside")

    monkeypatch.setattr("workspace.views.patients.list_patients", broken)
    client = client_of(two_hospitals.a.staff)
    client.raise_request_exception = False
    for headers in ({}, {"Accept": "application/json"}, {"HX-Request": "true"}):
        answer = client.get(reverse("workspace:patient-list"), headers=headers)
        assert answer.status_code == 500
        assert "Something went wrong on our side" in answer.text
        for told in ("RuntimeError", "Traceback", "inner works", "mongodb", ".py", "SECRET_KEY"):
            assert told not in answer.text
        assert policy_of(answer)["default-src"] == "'none'"


MARKED = {
    "mrn": "MARKED-4711",
    "name": "Quillfeather Zebedee",
    "birth_date": "1931-12-24",
    "sex": "F",
    "diabetes_type": "2",
    "phone": "0555 314159",
    "email": "zebedee@quillfeather.example",
}
# Somebody who is not taken for the one above.
ANOTHER = {
    **MARKED,
    "mrn": "MARKED-4711-ANOTHER",
    "name": "Zebedee",
    "birth_date": "1955-05-05",
    "phone": "",
    "email": "",
}
MARKS = ("marked-4711", "quillfeather", "zebedee", "1931-12-24", "314159", "secret words", PASSWORD)


def test_log_of_a_visit_names_nobody(two_hospitals, client_of, caplog, monkeypatch):
    """Register, search, photograph, err, be refused, and break down: all with names to look for."""
    # The most that LOG_LEVEL can ask for; Django's own level is fixed.
    for name in ("drservice", "accounts", "workspace", "inference"):
        caplog.set_level(logging.DEBUG, name)
    caplog.set_level(logging.INFO, "django")
    staff, foreign = client_of(two_hospitals.a.staff), client_of(two_hospitals.b.staff)
    staff.post(reverse("workspace:patient-create"), MARKED)
    staff.post(reverse("workspace:patient-create"), MARKED)
    with hospital_scope(two_hospitals.a.hospital.pk):
        case = make_case(Patient.objects.get())
    pages = {name: reverse(f"workspace:{name}", args=[case.pk]) for name in (
        "case-image-add", "case-details", "case-submit", "case-cancel", "case-detail")}  # fmt: skip
    files = [upload("quillfeather_left.jpg"), upload("quillfeather.pdf", b"%PDF quillfeather")]

    searched(staff, reverse("workspace:patient-list"), "quillfeather")
    staff.post(pages["case-image-add"], {"files": files})
    staff.post(pages["case-details"], {"notes": "secret words of quillfeather"})
    staff.post(pages["case-submit"], {"notes": "secret words"})
    staff.post(pages["case-cancel"], {"reason": "secret words of quillfeather"})
    foreign.get(pages["case-detail"], {"q": "quillfeather"})
    Client().get(pages["case-detail"], {"name": "quillfeather"})
    Client(enforce_csrf_checks=True).post(pages["case-details"], {"notes": "quillfeather"})
    sign_in = {"email": MARKED["email"], "password": PASSWORD}
    for _ in range(11):
        Client().post(reverse("accounts:sign-in"), sign_in)

    def broken(**arguments):
        raise RuntimeError("no reason")

    monkeypatch.setattr("workspace.views.patients.create_patient", broken)
    staff.raise_request_exception = False
    failed = staff.post(reverse("workspace:patient-create"), ANOTHER)
    assert failed.status_code == 500

    written = "\n".join(map(caplog.handler.format, caplog.records)).lower()
    assert "sign_in_failed" in written
    assert "runtimeerror" in written
    assert [mark for mark in MARKS if mark in written] == []


def test_redis_holds_no_name(two_hospitals, client_of):
    staff = client_of(two_hospitals.a.staff)
    staff.post(reverse("workspace:patient-create"), MARKED)
    with hospital_scope(two_hospitals.a.hospital.pk):
        case = make_case(Patient.objects.get())
    staff.post(reverse("workspace:case-details", args=[case.pk]), {"notes": "secret words"})
    staff.post(reverse("workspace:case-submit", args=[case.pk]), {"notes": "secret words"})
    searched(staff, reverse("workspace:patient-list"), "quillfeather")
    Client().post(reverse("accounts:sign-in"), {"email": MARKED["email"], "password": "wrong"})
    held = everything_in_redis().lower()
    assert str(case.pk) in held
    assert [mark for mark in MARKS if mark in held] == []


def everything_in_redis() -> str:
    """Return every key and value, as text: queues of hints, counts of failures, caches."""
    server = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2)
    read = {
        b"string": server.get,
        b"list": lambda key: server.lrange(key, 0, -1),
        b"hash": server.hgetall,
        b"set": server.smembers,
        b"zset": lambda key: server.zrange(key, 0, -1),
    }
    values = [(key, read[server.type(key)](key)) for key in server.scan_iter()]
    server.close()
    held = repr(values)
    # Celery wraps the arguments of a hint in base64.
    wrapped = re.findall(r'"body": "([A-Za-z0-9+/=]+)"', held)
    return held + "".join(base64.b64decode(text).decode() for text in wrapped)


def test_refusals_are_in_the_log(two_hospitals, client_of, caplog):
    caplog.set_level(logging.INFO)
    user = two_hospitals.a.staff
    Client().get("/", headers={"Host": "evil.example"})
    Client(enforce_csrf_checks=True).post(reverse("accounts:sign-in"), sign_in_fields(user))
    client_of(user).get(reverse("accounts:member-list"))
    client_of(user).get(reverse("workspace:case-detail", args=[ObjectId()]))
    for _ in range(10):
        Client().post(reverse("accounts:sign-in"), sign_in_fields(user, "wrong"))
    written = "\n".join(record.getMessage() for record in caplog.records)
    for event in ("Invalid HTTP_HOST", "Forbidden (CSRF", "Forbidden (Permission denied)",
                  "Not Found", "sign_in_failed", "sign_in_locked"):  # fmt: skip
        assert event in written


def test_refusals_of_foreign_hosts_and_broken_forms_are_the_same_for_everybody(people, insider):
    anonymous, signed_in = Client(), Client()
    signed_in.force_login(insider.user, backend="django.contrib.auth.backends.ModelBackend")
    evil = {"Host": "evil.example"}
    told = [client.get("/cases/", headers=evil) for client in (anonymous, signed_in)]
    assert {answer.status_code for answer in told} == {400}
    assert len({body_without_token(answer) for answer in told}) == 1
    assert all("evil.example" not in answer.text for answer in told)
