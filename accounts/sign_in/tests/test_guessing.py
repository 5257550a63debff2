"""Guessing: every try costs the same, fixed sessions, poor passwords, and odd input."""

from dataclasses import replace

import pytest
from allauth.mfa.models import Authenticator
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import User
from accounts.sign_in.guesses import FAILURES
from accounts.sign_in.passwords import DressedUpPasswordValidator, NamesInPasswordValidator
from accounts.sign_in.tests.factories import SIGN_IN, is_signed_in, make_user_with_app, prove_mail
from accounts.tests.factories import PASSWORD, make_hospital, make_member, make_user

WRONG = "not the password"

pytestmark = pytest.mark.django_db


def try_one(client: Client, email: str, password: str = WRONG):
    return client.post(SIGN_IN, {"email": email, "password": password})


def test_whole_network_of_version_6_is_one_address(monkeypatch):
    monkeypatch.setattr("accounts.sign_in.guesses.FAILURES", replace(FAILURES, most=5))
    user = make_user()
    for n in range(5):
        try_one(Client(REMOTE_ADDR=f"2001:db8:0:7::{n + 1:x}"), f"six{n}@example.org")
    answers = [
        try_one(Client(REMOTE_ADDR=address), user.email, PASSWORD).status_code
        for address in ("2001:db8:0:7:ffff::1", "2001:db8:0:8::1")
    ]
    assert answers == [429, 302]


def test_every_refused_sign_in_costs_one_hashing(client, hashings):
    people = [make_user(), make_user(is_active=False), make_user_with_app()[0]]
    unusable = make_user()
    unusable.set_unusable_password()
    unusable.save()
    costs = {}
    for email in [*(user.email for user in people), unusable.email, "nobody@example.org"]:
        hashings.clear()
        assert try_one(client, email).status_code == 400
        costs[email] = len(hashings)
    assert set(costs.values()) == {1}, costs


def test_session_key_changes_at_every_step_up(client):
    user = make_user()
    client.get(SIGN_IN)
    session = client.session
    session["planted"] = "by somebody else"
    session.save()
    client.cookies["sessionid"] = session.session_key
    fixed = session.session_key
    assert try_one(client, user.email, PASSWORD).status_code == 302
    assert is_signed_in(client)
    assert client.session.session_key != fixed
    other = Client()
    other.cookies["sessionid"] = fixed
    assert not is_signed_in(other)


def test_session_cookie_is_out_of_reach_of_scripts_and_other_sites(client):
    try_one(client, make_user().email, PASSWORD)
    cookie = client.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"


@pytest.mark.parametrize(
    "password",
    [
        "password123", "Password2026!", "P@ssw0rd2026", "1234567890", "1234567890!", "qwertyuiop",
        "!!!sunshine!!!", "dragondragon", "Liverpool1", "monkeymonkeymonkey", "  basketball  ",
        "letmein12345", "0000000000",
    ],
)  # fmt: skip
def test_common_password_is_refused_however_it_is_dressed_up(password):
    with pytest.raises(ValidationError, match="tried first"):
        DressedUpPasswordValidator().validate(password)


@pytest.mark.parametrize(
    "password",
    ["quiet green lantern 7", "correct horse battery", "Vx9#kkQ2!mZp", "kaputt-morgen-zwiebel"],
)
def test_password_that_nobody_tries_first_is_taken(password):
    DressedUpPasswordValidator().validate(password)
    NamesInPasswordValidator().validate(password, make_user(name="Wangari Kamau"))


@pytest.mark.parametrize(
    "password",
    ["wangari-2026", "Kamau12345", "lakeside2026!", "Lakeside-Kamau", "drservice123", "w.kamau99"],
)
def test_password_around_a_name_is_refused(password):
    user = make_member(
        make_hospital("Lakeside Eye Clinic"), "staff", name="Wangari Kamau",
        email="w.kamau@example.org",
    )  # fmt: skip
    with pytest.raises(ValidationError, match="too little in it"):
        NamesInPasswordValidator().validate(password, user)
    NamesInPasswordValidator().validate(f"{password} and much more", User(name="", email=""))


@pytest.mark.parametrize("address", ["sign-in/code/", "again/", "again/code/", "forgotten/"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_pages_take_nothing_but_forms(client, address, kind):
    user, _ = make_user_with_app()
    try_one(client, user.email, PASSWORD)
    body = '{"code": {"$ne": ""}, "password": {"$ne": ""}, "email": {"$ne": ""}}'
    answer = client.post(f"/accounts/{address}", body, content_type=kind)
    assert answer.status_code in (200, 302, 400)
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    "fields",
    [{"code[$ne]": "x"}, {"code": '{"$ne": null}'}, {"code": ["x", "$gt"]}, {"code": "0\0" * 3},
     {"code": "9" * 5000}, {"credential": '{"$ne": 1}'}, {"credential": "[]"},
     {"credential": '{"id": {"$gt": ""}, "response": {"userHandle": {"$ne": ""}}}'}, {}],
)  # fmt: skip
def test_codes_and_passkeys_take_operators_for_text(client, fields):
    user, _ = make_user_with_app()
    try_one(client, user.email, PASSWORD)
    assert client.post("/accounts/sign-in/code/", fields).status_code in (200, 302)
    assert client.post("/accounts/sign-in/passkey/", fields).status_code in (200, 302)
    assert not is_signed_in(client)


@pytest.mark.parametrize("credential", ["{}", "[]", "1", "null", '{"id": {"$gt": ""}}', "x"])
def test_what_is_no_passkey_is_not_added(client, credential):
    try_one(client, make_user().email, PASSWORD)
    prove_mail(client)
    client.get("/accounts/security/passkeys/add/")
    fields = {"name": "Planted", "credential": credential}
    assert client.post("/accounts/security/passkeys/add/", fields).status_code == 200
    assert not Authenticator.objects.exists()
