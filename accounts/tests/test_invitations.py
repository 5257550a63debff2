"""Invitations: by a link that works once and in time, for one address, known to nobody else."""

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.audit.models import AuditEvent
from accounts.models import Invitation, InvitationState, Membership, User
from accounts.people.mail import due_mails_send
from accounts.people.services import hash_of, invitation_accept, invitation_send_again
from accounts.permissions import Role
from accounts.scoping import hospital_scope
from accounts.selectors import memberships_of
from accounts.services import membership_create, membership_deactivate
from accounts.tests.factories import PASSWORD, make_hospital, make_invitation, make_user, token_of
from accounts.tests.test_people import at_once
from drservice.testing.pages import body_without_token, searched

LIST = "/accounts/people/invitations/"
NEW = f"{LIST}new/"
OPENED = "/accounts/invitation/"
OWN = "three words together"


@pytest.fixture(autouse=True)
def mail_server(settings):
    """Mail goes somewhere: into `mail.outbox`."""
    settings.MAIL_REACHES_PEOPLE = True


def invite(admin: Client, email: str, **fields) -> str:
    """Invite an address as an admin does, and return the link of the mail."""
    values = {"name": "Ana Lake", "email": email, "roles": ["staff", "grader"], **fields}
    page = admin.post(NEW, values)
    assert page.status_code == 200, page.text
    return mailed_link()


def mailed_link() -> str:
    """Let a worker mail what is due, and return the link of the newest mail."""
    due_mails_send()
    return link_in(mail.outbox[-1].body)


def link_in(text: str) -> str:
    return re.search(r"http://testserver(/accounts/invitation/[\w-]+/)", text)[1]


def open_link(client: Client, invitation: Invitation):
    token = token_of(invitation.email, invitation.hospital)
    return client.get(f"{OPENED}{token}/", follow=True)


def accept_as_new(client: Client, **fields):
    values = {"name": "Ana Maria", "new_password1": OWN, "new_password2": OWN, **fields}
    return client.post(OPENED, values)


def test_invited_person_joins_with_a_name_and_password_of_their_own(
    two_hospitals, client_of, client
):
    admin = client_of(two_hospitals.a.admin)
    link = invite(admin, " ANA@lake.example ")
    [sent] = mail.outbox
    assert sent.to == ["ana@lake.example"]
    assert sent.subject == "Invitation to Hospital A"
    assert "Staff, Grader" in sent.body
    assert sent.content_subtype == "plain"

    page = client.get(link, follow=True)
    # The token is gone from the address bar, and with it from every address that is passed on.
    assert page.redirect_chain == [(OPENED, 302)]
    assert "Hospital A" in page.text
    assert "Staff, Grader" in page.text
    assert "no-store" in page["Cache-Control"]

    assert accept_as_new(client, new_password1="short", new_password2="short").status_code == 422
    assert accept_as_new(client)["Location"] == "/accounts/"
    assert "invitation" not in client.session
    ana = User.objects.get(email="ana@lake.example")
    assert (ana.name, ana.must_change_password, ana.check_password(OWN)) == (
        "Ana Maria",
        False,
        True,
    )
    [membership] = memberships_of(ana)
    assert (membership.hospital.name, membership.roles) == ("Hospital A", ["staff", "grader"])
    assert membership.name == "Ana Maria"
    assert client.get("/cases/").status_code == 200
    assert "Ana Maria" in admin.get("/accounts/people/").text
    assert "Ana Lake" not in admin.get(LIST).text
    assert "Ana Lake" in admin.get(f"{LIST}?state=accepted").text


def test_person_with_an_account_signs_in_and_accepts(two_hospitals, client_of, client):
    there = two_hospitals.b.grader
    link = invite(client_of(two_hospitals.a.admin), there.email)
    assert "Sign in to accept" in client.get(link, follow=True).text
    refused = accept_as_new(client)
    assert refused.status_code == 422
    assert "has an account already" in refused.text
    assert User.objects.filter(email=there.email).count() == 1

    fields = {"email": there.email, "password": PASSWORD, "next": OPENED}
    page = client.post("/accounts/sign-in/", fields, follow=True)
    assert page.redirect_chain[-1][0] == OPENED
    assert "you are invited" in page.text
    assert len(memberships_of(there)) == 1
    assert client.post(OPENED)["Location"] == "/accounts/"
    assert [one.hospital.name for one in memberships_of(there)] == ["Hospital B", "Hospital A"]
    # They go on where they have just been taken in.
    assert "Hospital A" in client.get("/cases/").text
    assert there.check_password(PASSWORD)


def test_somebody_else_is_told_so_and_may_sign_out(two_hospitals, client_of, client):
    link = invite(client_of(two_hospitals.a.admin), "ana@lake.example")
    other = client_of(two_hospitals.b.staff)
    page = other.get(link, follow=True)
    assert "for somebody else" in page.text
    assert two_hospitals.b.staff.email in page.text
    assert "for somebody else" in other.post(OPENED).text
    assert len(memberships_of(two_hospitals.b.staff)) == 1

    page = other.post(f"{OPENED}sign-out/", follow=True)
    assert "Choose your name and a password" in page.text
    assert accept_as_new(other)["Location"] == "/accounts/"


def test_page_tells_an_admin_nothing_about_an_address(two_hospitals, client_of):
    """New, known elsewhere, and an operator's: the same page, the same mail, the same list."""
    admin = client_of(two_hospitals.a.admin)
    seen = []
    for email in ("new@x.example", two_hospitals.b.grader.email, two_hospitals.operator.email):
        page = admin.post(NEW, {"name": "Somebody", "email": email, "roles": ["staff"]})
        token = mailed_link()
        sent = mail.outbox[-1]
        seen.append(
            (
                page.status_code,
                re.sub(rb"\d\d:\d\d", b"", body_without_token(page)).replace(email.encode(), b"E"),
                re.sub(r"\d\d:\d\d", "", sent.body.replace(token, "LINK")),
            )
        )
    assert seen[0] == seen[1] == seen[2]


def test_inviting_asks_the_database_the_same_for_every_address(two_hospitals, client_of):
    admin = client_of(two_hospitals.a.admin)
    asked = []
    for email in ("new@x.example", two_hospitals.b.grader.email, "newer@x.example"):
        with CaptureQueriesContext(connection) as queries:
            admin.post(NEW, {"name": "Somebody", "email": email, "roles": ["staff"]})
        asked.append(len(queries))
    # The first of all also remembers that the admin was seen.
    assert asked[1] == asked[2] > 0


def test_token_is_kept_as_a_hash_only(two_hospitals, client_of, client):
    link = invite(client_of(two_hospitals.a.admin), "ana@lake.example")
    token = link.rstrip("/").rpartition("/")[2]
    client.get(link)
    [invitation] = Invitation.objects.all()
    assert invitation.token_hash == hash_of(token)
    assert len(token) >= 40
    for name in connection.database.list_collection_names():
        for document in connection.database[name].find():
            assert token not in str(document)
    assert token not in str(dict(client.session))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "has expired"),
        ({"state": InvitationState.WITHDRAWN}, "was withdrawn"),
        ({"state": InvitationState.ACCEPTED, "ended_at": timezone.now()}, "was accepted"),
    ],
)
def test_link_that_is_over_says_why_and_what_to_do(two_hospitals, client, fields, words):
    invitation = make_invitation(two_hospitals.a.hospital, **fields)
    page = open_link(client, invitation)
    assert page.status_code == 400
    assert words in page.text
    assert "Hospital A" in page.text
    refused = accept_as_new(client)
    assert refused.status_code == 400
    assert not User.objects.filter(email=invitation.email).exists()


def test_link_of_a_closed_hospital_and_no_link_at_all_take_nobody_in(two_hospitals, client):
    invitation = make_invitation(two_hospitals.a.hospital)
    assert client.get(OPENED).status_code == 400
    assert "doesn't work" in client.get(f"{OPENED}no-such-token/").text
    open_link(client, invitation)
    two_hospitals.a.hospital.is_active = False
    two_hospitals.a.hospital.save()
    assert "is closed" in accept_as_new(client).text
    assert not User.objects.filter(email=invitation.email).exists()


def test_sending_again_makes_the_link_before_void(two_hospitals, client_of, client):
    admin = client_of(two_hospitals.a.admin)
    first = invite(admin, "ana@lake.example")
    [invitation] = Invitation.objects.all()
    Invitation.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert "Expired" in admin.get(LIST).text
    client.get(first)

    assert admin.post(f"{LIST}{invitation.pk}/resend/").status_code == 200
    second = mailed_link()
    assert "doesn't work" in client.get(first).text
    assert client.get(OPENED).status_code == 400
    assert "Choose your name" in client.get(second, follow=True).text
    assert Invitation.objects.get().expires_at > timezone.now() + timedelta(days=6)

    admin.post(f"{LIST}{invitation.pk}/withdraw/")
    assert "was withdrawn" in client.get(second, follow=True).text
    again = admin.post(f"{LIST}{invitation.pk}/resend/", follow=True)
    assert "accepted or withdrawn meanwhile" in again.text
    assert len(mail.outbox) == 2


def test_nobodys_mailbox_is_filled_with_invitations(two_hospitals, client_of):
    admin = client_of(two_hospitals.a.admin)
    invite(admin, "ana@lake.example")
    [invitation] = Invitation.objects.all()
    for _ in range(4):
        assert admin.post(f"{LIST}{invitation.pk}/resend/").status_code == 200
    assert len(mail.outbox) == 5
    before = Invitation.objects.get().token_hash
    refused = admin.post(f"{LIST}{invitation.pk}/resend/", follow=True)
    assert "invited five times within an hour" in refused.text
    admin.post(f"{LIST}{invitation.pk}/withdraw/")
    again = admin.post(NEW, {"name": "Ana", "email": "Ana@lake.example", "roles": ["staff"]})
    assert again.status_code == 422
    assert "invited five times within an hour" in again.text
    assert len(mail.outbox) == 5
    assert Invitation.objects.get().token_hash == before
    invite(admin, "ben@lake.example")
    assert len(mail.outbox) == 6


def test_address_is_invited_once_until_it_expires(two_hospitals, client_of):
    admin = client_of(two_hospitals.a.admin)
    invite(admin, "ana@lake.example")
    again = admin.post(NEW, {"name": "A", "email": "Ana@lake.example", "roles": ["staff"]})
    assert again.status_code == 422
    assert "invited already" in again.text
    Invitation.objects.update(expires_at=timezone.now() - timedelta(days=1))
    invite(admin, "ana@lake.example", name="Ana Two", roles=["auditor"])
    [invitation] = Invitation.objects.all()
    assert (invitation.name, invitation.roles) == ("Ana Two", ["auditor"])
    # Another hospital has nothing to do with it.
    invite(client_of(two_hospitals.b.admin), "ana@lake.example")


def test_member_is_not_invited_again(two_hospitals, client_of):
    admin, staff = client_of(two_hospitals.a.admin), two_hospitals.a.staff
    fields = {"name": "A", "email": staff.email, "roles": ["staff"]}
    assert "works here already" in admin.post(NEW, fields).text
    membership_deactivate(membership=Membership.objects.get(user=staff))
    assert "Activate them again" in admin.post(NEW, fields).text
    assert mail.outbox == []


def test_operator_and_stranger_to_the_mail_are_refused_by_the_service(two_hospitals):
    operator = two_hospitals.operator
    hospital = two_hospitals.a.hospital
    for_operator = make_invitation(hospital, email=operator.email)
    with pytest.raises(ValidationError, match="belong to no hospital"):
        invitation_accept(invitation=for_operator, user=operator)
    with pytest.raises(ValidationError, match="for another address"):
        invitation_accept(invitation=for_operator, user=two_hospitals.stranger)
    assert not Membership.objects.filter(user=operator).exists()


@pytest.mark.django_db(transaction=True)
def test_one_link_used_twice_at_once_makes_one_place():
    invitation = make_invitation(make_hospital())
    user = make_user(email=invitation.email)
    outcomes = at_once([lambda: invitation_accept(invitation=invitation, user=user)] * 4)
    assert sum(isinstance(one, Membership) for one in outcomes) == 1
    assert Membership.objects.filter(user=user).count() == 1


def test_link_used_after_being_sent_again_is_refused_at_the_last_moment(two_hospitals):
    stale = make_invitation(two_hospitals.a.hospital)
    user = make_user(email=stale.email)
    invitation_send_again(invitation=stale)
    with pytest.raises(ValidationError, match="can't be accepted any more"):
        invitation_accept(invitation=stale, user=user)
    assert memberships_of(user) == []


def test_failed_acceptance_leaves_the_invitation_as_it_was(two_hospitals):
    invitation = make_invitation(two_hospitals.a.hospital)
    user = make_user(email=invitation.email)
    membership_create(user=user, hospital=two_hospitals.a.hospital, roles=[Role.STAFF])
    with pytest.raises(ValidationError, match="already belongs"):
        invitation_accept(invitation=invitation, user=user)
    assert Invitation.objects.get(pk=invitation.pk).state == InvitationState.PENDING


def test_every_act_is_kept_in_the_trail(two_hospitals, client_of, client):
    admin = client_of(two_hospitals.a.admin)
    link = invite(admin, "ana@lake.example")
    [invitation] = Invitation.objects.all()
    admin.post(f"{LIST}{invitation.pk}/resend/")
    client.get(mailed_link())
    accept_as_new(client)
    other = make_invitation(two_hospitals.a.hospital)
    admin.post(f"{LIST}{other.pk}/withdraw/")

    with hospital_scope(two_hospitals.a.hospital.pk):
        kept = list(AuditEvent.objects.filter(subject_kind="invitation").order_by("seq"))
    admin_pk, ana_pk = (
        str(two_hospitals.a.admin.pk),
        str(User.objects.get(email="ana@lake.example").pk),
    )
    assert [(one.action, one.actor_id) for one in kept] == [
        ("invite", admin_pk),
        ("invite", admin_pk),
        ("accept", ana_pk),
        ("cancel", admin_pk),
    ]
    assert {one.hospital_id for one in kept} == {two_hospitals.a.hospital.pk}
    assert "ana@lake.example" not in str([vars(one) for one in kept])
    assert link not in str([vars(one) for one in kept])


def test_admin_gets_the_link_only_where_mail_reaches_nobody(two_hospitals, client_of, settings):
    admin = client_of(two_hospitals.a.admin)
    fields = {"name": "Ana", "roles": ["staff"]}
    page = admin.post(NEW, {**fields, "email": "ana@lake.example"})
    assert "/accounts/invitation/" not in page.text

    settings.MAIL_REACHES_PEOPLE = False
    page = admin.post(NEW, {**fields, "email": "ben@lake.example"})
    assert "Mail isn't set up" in page.text
    shown = link_in(page.text)
    # Written where the admin's computer keeps it, and to nobody.
    assert link_in(mail.outbox[-1].body) == shown
    assert due_mails_send() == 0
    assert shown not in admin.get(LIST).text

    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    page = admin.post(NEW, {**fields, "email": "eve@lake.example"})
    assert link_in(page.text)
    assert "Not mailed" in admin.get(LIST).text


def test_list_is_searched_and_paged(two_hospitals, client_of):
    hospital = two_hospitals.a.hospital
    for number in range(27):
        make_invitation(hospital, name=f"Person {number:02}")
    make_invitation(two_hospitals.b.hospital, name="Elsewhere")
    admin = client_of(two_hospitals.a.admin)
    first, second = admin.get(LIST).text, admin.get(f"{LIST}?page=2").text
    assert "Person 26" in first
    assert "Person 00" not in first
    assert "Person 00" in second
    assert "27 pending" in first
    found = searched(admin, LIST, "person 07").text
    assert "Person 07" in found
    assert "Person 08" not in found
    assert "None found" in searched(admin, LIST, "Elsewhere").text
    assert "None yet" in admin.get(f"{LIST}?state=withdrawn").text
