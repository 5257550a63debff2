"""A forgotten password: the link works once, for an hour, and opens nothing by itself."""

import re
from smtplib import SMTPRecipientsRefused

import pytest
from django.core import mail
from django.test import Client, override_settings

from accounts.models import User
from accounts.sign_in.tests.factories import (
    CODE,
    SIGN_IN,
    code_of,
    enter_code,
    enter_password,
    is_signed_in,
    make_user_with_app,
    recovery_codes_of,
    signed_in_freshly,
)
from accounts.tests.factories import PASSWORD, make_user
from drservice.testing.pages import body_without_token

pytestmark = pytest.mark.django_db

ASK = "/accounts/forgotten/"
NEW = "quiet green lantern 7"
NEW_FIELDS = {"password1": NEW, "password2": NEW}


def ask(email: str, client: Client | None = None):
    return (client or Client()).post(ASK, {"email": email})


def link_for(user: User) -> str:
    ask(user.email)
    [found] = re.findall(r"http://testserver(\S+)", mail.outbox[-1].body)
    return found


def open_link(client: Client, link: str) -> str:
    """Follow a link to the form; the token doesn't stay in the address."""
    shown = client.get(link)
    assert shown.status_code == 302
    assert shown["Location"].endswith("-set-password/")
    assert link.rpartition("-")[2] not in shown["Location"]
    return shown["Location"]


def test_link_lets_choose_a_password_and_signs_nobody_in(client):
    user = make_user()
    link = link_for(user)
    assert mail.outbox[-1].to == [user.email]
    form = open_link(client, link)
    assert client.post(form, NEW_FIELDS)["Location"] == f"{ASK}done/"
    assert not is_signed_in(client)
    assert enter_password(client, user).status_code == 400
    assert enter_password(client, user, NEW).status_code == 302
    assert is_signed_in(client)
    assert "password of your account" in mail.outbox[-1].body


def test_link_works_once(client):
    user = make_user()
    link = link_for(user)
    client.post(open_link(client, link), NEW_FIELDS)
    assert "work any more" in Client().get(link).text
    used = client.post(f"{link.rpartition('-')[0]}-set-password/", NEW_FIELDS)
    assert "work any more" in used.text


def test_link_stops_working_after_an_hour(client, monkeypatch, settings):
    assert settings.PASSWORD_RESET_TIMEOUT == 3600
    link = link_for(make_user())
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert "work any more" in client.get(link).text


def test_link_stops_working_when_its_owner_signs_in():
    user = make_user()
    link = link_for(user)
    signed_in_freshly(user)
    assert "work any more" in Client().get(link).text


def test_link_of_one_person_opens_nothing_for_another(client):
    user, other = make_user(), make_user()
    link = link_for(user).replace(str(user.pk), str(other.pk))
    assert "work any more" in client.get(link).text


def test_link_does_not_get_past_the_second_factor(client):
    user, secret = make_user_with_app()
    codes = recovery_codes_of(user)
    client.post(open_link(client, link_for(user)), NEW_FIELDS)
    answer = enter_password(client, user, NEW)
    assert answer["Location"] == CODE
    assert not is_signed_in(client)
    assert recovery_codes_of(user) == codes
    enter_code(client, code_of(secret))
    assert is_signed_in(client)


def test_link_ends_the_sessions_of_the_old_password(client):
    user = make_user()
    old = signed_in_freshly(user)
    client.post(open_link(client, link_for(user)), NEW_FIELDS)
    assert old.get("/accounts/")["Location"].startswith(SIGN_IN)


def test_link_takes_no_poor_password(client):
    user = make_user(name="Wangari Kamau")
    form = open_link(client, link_for(user))
    for poor in ("short", "password123", "wangari-kamau1", "1234567890"):
        page = client.post(form, {"password1": poor, "password2": poor})
        assert page.status_code == 200, poor
    assert User.objects.get(pk=user.pk).check_password(PASSWORD)


def test_asking_says_the_same_whoever_is_there(client):
    known = make_user()
    gone = make_user(is_active=False)
    answers = [ask(email) for email in (known.email, "nobody@example.org", gone.email)]
    assert {answer["Location"] for answer in answers} == {f"{ASK}sent/"}
    assert len({(a.status_code, body_without_token(a)) for a in answers}) == 1
    assert [message.to for message in mail.outbox] == [[known.email]]


@override_settings(MAIL_IN_BACKGROUND=True)
def test_asking_does_not_wait_for_the_mail(monkeypatch):
    handed_over = []
    monkeypatch.setattr("accounts.sign_in.services._post.submit", lambda *a: handed_over.append(a))
    assert ask(make_user().email).status_code == 302
    assert len(handed_over) == 1
    assert mail.outbox == []


@pytest.mark.parametrize("refuses", [ConnectionRefusedError, SMTPRecipientsRefused])
def test_mail_that_cannot_be_sent_changes_no_answer(monkeypatch, caplog, refuses):
    def fail(message):
        raise refuses(dict.fromkeys(message.to, (550, b"no such mailbox")))

    monkeypatch.setattr("django.core.mail.EmailMessage.send", fail)
    user = make_user()
    assert ask(user.email)["Location"] == f"{ASK}sent/"
    assert "mail_failed" in caplog.text
    assert user.email not in caplog.text


def test_nobody_is_flooded_with_mail():
    user = make_user()
    answers = [ask(user.email).status_code for _ in range(6)]
    assert answers == [302] * 5 + [429]
    assert len(mail.outbox) == 5
    unknown = [ask("flooded@example.org").status_code for _ in range(6)]
    assert unknown == answers


@pytest.mark.parametrize(
    "fields",
    [{"email[$ne]": "x"}, {"email": '{"$ne": null}'}, {"email": "x@example.org\0"}, {}],
)
def test_asking_takes_operators_for_text(client, fields):
    make_user()
    assert client.post(ASK, fields).status_code == 200
    assert mail.outbox == []
