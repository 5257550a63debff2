"""Signing in and out: who gets in, who doesn't, and that nothing leaks about why."""

import json
import time

import pytest
from django.contrib.sessions.models import Session
from django.test import Client, override_settings
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisConnectionError

from accounts.models import User
from accounts.tests.factories import PASSWORD, make_user
from drservice.testing.pages import body_without_token

SIGN_IN = "/accounts/sign-in/"
ARGON2 = ["django.contrib.auth.hashers.Argon2PasswordHasher"]


def sign_in(client: Client, email: str, password: str = PASSWORD, **extra):
    return client.post(SIGN_IN, {"email": email, "password": password}, **extra)


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


@pytest.mark.django_db
def test_sign_in_lets_in_who_knows_the_password_and_nobody_else(client):
    user = make_user(email="Nurse@Example.org")
    assert sign_in(client, "nurse@example.org", "wrong password").status_code == 400
    assert not is_signed_in(client)
    before = client.session.session_key

    answer = sign_in(client, " NURSE@example.org ")
    assert answer.status_code == 302
    assert answer["Location"] == reverse("accounts:start")
    assert client.session["_auth_user_id"] == str(user.pk)
    assert client.session.session_key != before
    assert sign_in(client, "nurse@example.org").status_code == 302

    kept = client.session.session_key
    assert client.get("/accounts/sign-out/").status_code == 405
    assert client.post("/accounts/sign-out/")["Location"] == SIGN_IN
    assert not is_signed_in(client)
    assert not Session.objects.filter(session_key=kept).exists()


@pytest.mark.django_db
def test_sign_in_checks_the_security_token():
    user = make_user()
    client = Client(enforce_csrf_checks=True)
    refused = sign_in(client, user.email)
    assert refused.status_code == 403
    assert "reload the page" in refused.text

    token = client.get(SIGN_IN).context["csrf_token"]
    assert sign_in(client, user.email, headers={"X-CSRFToken": str(token)}).status_code == 302


@pytest.mark.django_db
def test_sign_in_keeps_argon2_hashes_only(client):
    with override_settings(PASSWORD_HASHERS=ARGON2):
        user = make_user()
        stored = User.objects.get(pk=user.pk)
        assert stored.password.startswith("argon2$argon2id$")
        assert PASSWORD not in repr(vars(stored))
        assert sign_in(client, user.email).status_code == 302


@pytest.mark.django_db
def test_sign_in_says_the_same_for_unknown_wrong_and_inactive(client):
    make_user(email="there@example.org")
    make_user(email="gone@example.org", is_active=False)
    tried = [
        ("there@example.org", "not the password"),
        ("nobody@example.org", "not the password"),
        ("gone@example.org", PASSWORD),
    ]
    answers = {
        body_without_token(sign_in(client, email, password)).replace(email.encode(), b"E-MAIL")
        for email, password in tried
    }
    assert len(answers) == 1
    assert b"fit together" in answers.pop()
    assert not is_signed_in(client)


@pytest.mark.django_db
def test_sign_in_takes_as_long_for_an_unknown_e_mail_as_for_a_wrong_password(client):
    with override_settings(PASSWORD_HASHERS=ARGON2):
        make_user(email="timed@example.org")
        wrong = min(_seconds(client, "timed@example.org") for _ in range(5))
        unknown = min(_seconds(client, "unknown@example.org") for _ in range(5))
    assert 1 / 3 < wrong / unknown < 3


def _seconds(client: Client, email: str) -> float:
    began = time.perf_counter()
    assert sign_in(client, email, "not the password").status_code == 400
    return time.perf_counter() - began


@pytest.mark.django_db
def test_sign_in_locks_one_e_mail_from_one_address_after_ten_failures(client, caplog):
    user, other = make_user(), make_user()
    spellings = [user.email, user.email.upper(), f" {user.email.title()} "]
    codes = [sign_in(client, spellings[n % 3], "wrong").status_code for n in range(10)]
    assert codes == [400] * 9 + [429]

    locked = sign_in(client, user.email)
    assert locked.status_code == 429
    assert "15 minutes" in locked.text
    assert not is_signed_in(client)
    assert sign_in(Client(), user.email).status_code == 429
    # A forwarded address is only a claim: it doesn't open the lock.
    forged = sign_in(client, user.email, headers={"X-Forwarded-For": "203.0.113.9"})
    assert forged.status_code == 429

    assert sign_in(Client(REMOTE_ADDR="203.0.113.9"), user.email).status_code == 302
    assert sign_in(client, other.email).status_code == 302
    assert "sign_in_locked address=127.0.0.1" in caplog.text
    assert user.email not in caplog.text.lower()


@pytest.mark.django_db
def test_sign_in_forgives_failures_after_a_success(client):
    user = make_user()
    for _ in range(9):
        sign_in(client, user.email, "wrong")
    assert sign_in(client, user.email).status_code == 302
    assert sign_in(Client(), user.email, "wrong").status_code == 400


@pytest.mark.django_db
def test_sign_in_pauses_while_failures_cannot_be_counted(client, monkeypatch):
    user = make_user()
    monkeypatch.setattr("axes.handlers.proxy.AxesProxyHandler.implementation", UncountedHandler())
    answer = sign_in(client, user.email)
    assert answer.status_code == 503
    assert "Nobody can sign in" in answer.text
    assert not is_signed_in(client)


class UncountedHandler:
    def is_allowed(self, *args) -> bool:
        raise RedisConnectionError("refused")


@pytest.mark.django_db
async def test_sign_in_locks_in_the_asynchronous_server_too(async_client):
    fields = {"email": "locked-async@example.org", "password": "wrong"}
    answers = [await async_client.post(SIGN_IN, fields) for _ in range(10)]
    assert [answer.status_code for answer in answers] == [400] * 9 + [429]
    assert "15 minutes" in answers[-1].text


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields",
    [
        {"email[$ne]": "x", "password[$ne]": "x"},
        {"email[$gt]": "", "password": PASSWORD},
        {"email": '{"$ne": null}', "password": PASSWORD},
        {"email": ["nobody@example.org", "$ne"], "password": PASSWORD},
        {"email": "there@example.org", "password": ["x", '{"$ne": ""}']},
        {"email": "there@example.org\0", "password": PASSWORD},
        {"email": ".*@example.org", "password": PASSWORD},
        {"email": "there@example.org", "password": "x" * 5000},
        {"email": "there@example.org"},
        {},
    ],
)
def test_sign_in_takes_operators_for_text(client, fields):
    make_user(email="there@example.org")
    assert client.post(SIGN_IN, fields).status_code == 400
    assert not is_signed_in(client)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data"])
def test_sign_in_takes_nothing_but_a_form(client, kind):
    make_user(email="there@example.org")
    body = json.dumps({"email": {"$ne": ""}, "password": {"$ne": ""}})
    assert client.post(SIGN_IN, body, content_type=kind).status_code == 400
    assert not is_signed_in(client)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("/accounts/people/?page=2", "/accounts/people/?page=2"),
        ("https://evil.example/", "/accounts/"),
        ("//evil.example/", "/accounts/"),
        ("/\\evil.example/", "/accounts/"),
        ("javascript:alert(1)", "/accounts/"),
        ("", "/accounts/"),
    ],
)
def test_sign_in_goes_on_to_its_own_pages_only(wanted, reached):
    user = make_user()
    answer = Client().post(SIGN_IN, {"email": user.email, "password": PASSWORD, "next": wanted})
    assert answer["Location"] == reached
    page = Client().get(SIGN_IN, {"next": wanted})
    assert (f'name="next" value="{wanted}"' in page.text) == (wanted == reached)
