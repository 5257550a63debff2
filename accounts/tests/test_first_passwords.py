"""First passwords: handed over where mail reaches nobody, and no way around a person's consent."""

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Invitation, Membership, User
from accounts.people.services import (
    HAS_ACCOUNT,
    hash_of,
    invitation_accept_as_new,
    invitation_create,
)
from accounts.selectors import memberships_of
from accounts.services import first_password, first_password_in
from accounts.tests.factories import PASSWORD, make_hospital, make_user
from accounts.tests.test_people import at_once
from drservice.testing.pages import body_without_token

PEOPLE = "/accounts/people/"
INVITATIONS = f"{PEOPLE}invitations/"
OPENED = "/accounts/invitation/"
SIGN_IN = "/accounts/sign-in/"
OWN = "three words together"


def add(admin: Client, email: str, **fields):
    """Add somebody as an admin does; the page's context has `password` and `link`."""
    values = {"name": " Ana  Lake ", "email": email, "roles": ["auditor", "staff"], **fields}
    page = admin.post(f"{PEOPLE}add/", values)
    assert page.status_code == 200, page.text
    return page


def enter(client: Client, email: str, password: str, **fields):
    return client.post(SIGN_IN, {"email": email, "password": password, **fields}, follow=True)


def choose(client: Client):
    values = {"name": "Ana Maria", "new_password1": OWN, "new_password2": OWN}
    return client.post(OPENED, values)


def test_new_person_enters_it_at_sign_in_and_chooses_their_own(two_hospitals, client_of, client):
    admin = client_of(two_hospitals.a.admin)
    page = add(admin, " ANA@lake.example ")
    assert "no-store" in page["Cache-Control"]
    password = page.context["password"]
    assert password in page.text
    assert mail.outbox == []
    # Not yet a member, and no account either: nobody else ever knows a password of theirs.
    assert not User.objects.filter(email="ana@lake.example").exists()
    assert "ana@lake.example" not in admin.get(PEOPLE).text
    listed = admin.get(INVITATIONS).text
    assert "With a first password" in listed
    assert password not in listed

    opened = enter(client, "Ana@lake.example", f" {password.upper()} ")
    assert opened.redirect_chain == [(OPENED, 302)]
    assert "Hospital A" in opened.text
    assert choose(client)["Location"] == "/accounts/"
    ana = User.objects.get(email="ana@lake.example")
    assert (ana.must_change_password, ana.check_password(OWN)) == (False, True)
    [membership] = memberships_of(ana)
    assert (membership.name, membership.roles) == ("Ana Maria", ["staff", "auditor"])
    assert client.get("/cases/").status_code == 200
    assert "Ana Maria" in admin.get(PEOPLE).text

    again = enter(Client(), ana.email, password)
    assert "was accepted" in again.text


def test_person_with_an_account_is_no_member_until_they_accept(two_hospitals, client_of):
    admin, there = client_of(two_hospitals.a.admin), two_hospitals.b.grader
    before = User.objects.get(pk=there.pk)
    page = add(admin, there.email)
    at_work = client_of(there)
    assert "Hospital A" not in at_work.get("/cases/").text
    assert not Membership.objects.filter(user=there, hospital=two_hospitals.a.hospital).exists()
    to_a = {"hospital": str(two_hospitals.a.hospital.pk)}
    assert at_work.post("/accounts/hospital/", to_a).status_code == 404

    # Signed in already: the address that goes with the first password.
    opened = at_work.get(page.context["link"].removeprefix("http://testserver"), follow=True)
    assert "you are invited" in opened.text
    assert len(memberships_of(there)) == 1
    assert at_work.post(OPENED)["Location"] == "/accounts/"
    assert [one.hospital.name for one in memberships_of(there)] == ["Hospital B", "Hospital A"]
    after = User.objects.get(pk=there.pk)
    assert (after.password, after.name) == (before.password, before.name)


def test_person_with_an_account_enters_it_signs_in_and_accepts(two_hospitals, client_of, client):
    there = two_hospitals.b.grader
    password = add(client_of(two_hospitals.a.admin), there.email).context["password"]
    assert "Sign in to accept" in enter(client, there.email, password).text
    refused = choose(client)
    assert refused.status_code == 422
    assert HAS_ACCOUNT in refused.text
    assert not there.check_password(OWN)

    page = enter(client, there.email, PASSWORD, next=OPENED)
    assert "you are invited" in page.text
    assert len(memberships_of(there)) == 1
    assert client.post(OPENED)["Location"] == "/accounts/"
    assert [one.hospital.name for one in memberships_of(there)] == ["Hospital B", "Hospital A"]


def test_adding_somebody_from_elsewhere_tells_nothing_about_them(two_hospitals, client_of):
    """New, known elsewhere, an operator's: the same pages, and the same when it is opened."""
    admin, there = client_of(two_hospitals.a.admin), two_hospitals.b.grader
    seen = []
    for email in ("nobody-yet@example.org", there.email, two_hospitals.operator.email):
        page = add(admin, email, name="Somebody")
        password, link = page.context["password"], page.context["link"]
        shown = [page, admin.get(PEOPLE), admin.get(INVITATIONS)]
        shown += [enter(Client(), email, password), Client().get(link, follow=True)]
        seen.append([_without(one, email, password) for one in shown])
        [invitation] = Invitation.objects.all()
        admin.post(f"{INVITATIONS}{invitation.pk}/withdraw/")
        admin.get(INVITATIONS)
        Invitation.objects.all().delete()
    assert seen[0] == seen[1] == seen[2]


def _without(page, email: str, password: str) -> str:
    text = body_without_token(page).decode().replace(email, "E-MAIL").replace(password, "PASSWORD")
    return re.sub(r"\d\d:\d\d|[0-9a-f]{24}", "", text)


def test_adding_asks_the_database_the_same_for_every_address(two_hospitals, client_of):
    admin = client_of(two_hospitals.a.admin)
    asked = []
    for email in ("new@x.example", two_hospitals.b.grader.email, "newer@x.example"):
        with CaptureQueriesContext(connection) as queries:
            add(admin, email)
        asked.append(len(queries))
    # The first of all also remembers that the admin was seen.
    assert asked[1] == asked[2] > 0


def test_it_opens_only_the_invitation_of_its_own_address(two_hospitals, client_of, client):
    admin = client_of(two_hospitals.a.admin)
    password = add(admin, "ana@lake.example").context["password"]
    assert enter(client, "ben@lake.example", password).status_code == 400
    assert enter(client, "ana@lake.example", first_password()).status_code == 400
    assert "invitation" not in client.session
    # Whoever is signed in as somebody else can't take it.
    other = client_of(two_hospitals.b.staff)
    assert "for somebody else" in other.get(f"{OPENED}{password}/", follow=True).text
    assert "for somebody else" in other.post(OPENED).text
    assert len(memberships_of(two_hospitals.b.staff)) == 1


def test_new_one_makes_the_one_before_void_and_all_of_them_end(two_hospitals, client_of):
    admin = client_of(two_hospitals.a.admin)
    first = add(admin, "ana@lake.example").context["password"]
    [invitation] = Invitation.objects.all()
    assert "New first password" in admin.get(INVITATIONS).text
    page = admin.post(f"{INVITATIONS}{invitation.pk}/resend/")
    second = page.context["password"]
    assert mail.outbox == []
    assert enter(Client(), "ana@lake.example", first).status_code == 400
    client = Client()
    assert "Hospital A" in enter(client, "ana@lake.example", second).text

    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "has expired" in enter(Client(), "ana@lake.example", second).text
    assert choose(client).status_code == 400
    assert not User.objects.filter(email="ana@lake.example").exists()


def test_only_what_is_written_like_one_is_looked_for():
    made = first_password()
    assert first_password_in(f" {made.upper()} ") == made
    for other in ("", PASSWORD, made[:-1], f"{made}x", made.replace("-", "_"), "o0l1-" + made[5:]):
        assert first_password_in(other) == ""


def test_password_of_ones_own_is_never_looked_for(two_hospitals, client, monkeypatch):
    hashed = []
    monkeypatch.setattr(
        "accounts.people.doors.hash_of", lambda text: hashed.append(text) or hash_of(text)
    )
    enter(client, two_hospitals.a.staff.email, PASSWORD)
    assert hashed == []
    assert client.get("/cases/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_address_invited_by_four_hospitals_becomes_one_account():
    by, email = make_user(), "twice@example.org"
    fields = {"email": email, "name": "Twice", "roles": ["staff"], "by": by, "by_hand": True}
    issued = [invitation_create(hospital=make_hospital(), **fields) for _ in range(4)]
    outcomes = at_once(
        [
            lambda one=one: invitation_accept_as_new(
                invitation=one.invitation, name="Twice", password=OWN
            )
            for one in issued
        ]
    )
    refused = [one for one in outcomes if isinstance(one, ValidationError)]
    assert [error.messages for error in refused] == [[HAS_ACCOUNT]] * 3
    assert len(memberships_of(User.objects.get(email=email))) == 1
    assert Invitation.objects.pending().count() == 3
