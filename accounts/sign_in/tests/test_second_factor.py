"""Second factors: who has one gets in with it and not without, and each code lets in once."""

import time
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.mfa.models import Authenticator
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisConnectionError

from accounts.sign_in.selectors import second_factors_of
from accounts.sign_in.tests.factories import (
    CODE,
    SIGN_IN,
    code_of,
    enter_code,
    enter_password,
    is_signed_in,
    make_user_with_app,
    prove_mail,
    recovery_codes_of,
    signed_in_freshly,
)
from accounts.tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db

AGAIN, SECURITY = "/accounts/again/", "/accounts/security/"
ADD_APP, CODES = "/accounts/security/app/", "/accounts/security/codes/"


def forget_proofs(client: Client) -> None:
    """Let the proofs of identity of a session be hours old."""
    session = client.session
    for record in session[AUTHENTICATION_METHODS_SESSION_KEY]:
        record["at"] -= 4 * 3600
    session.save()


def test_password_alone_lets_nobody_in_who_has_an_app(client):
    user, secret = make_user_with_app()
    answer = enter_password(client, user)
    assert answer["Location"] == CODE
    assert not is_signed_in(client)
    assert client.get("/accounts/")["Location"].startswith(SIGN_IN)
    assert enter_code(client, "000000").status_code == 200
    assert not is_signed_in(client)

    before = client.session.session_key
    assert enter_code(client, code_of(secret))["Location"] == "/accounts/"
    assert is_signed_in(client)
    assert client.session.session_key != before


def test_second_factor_leads_on_to_where_one_was_going(client):
    user, secret = make_user_with_app()
    fields = {"email": user.email, "password": PASSWORD, "next": "/accounts/sessions/"}
    client.post(SIGN_IN, fields)
    assert enter_code(client, code_of(secret))["Location"] == "/accounts/sessions/"


def test_code_of_an_app_lets_in_once(client):
    user, secret = make_user_with_app()
    code = code_of(secret)
    assert is_signed_in(signed_in_freshly(user, secret))
    enter_password(client, user)
    page = enter_code(client, code)
    assert "used already" in page.text
    assert not is_signed_in(client)


@pytest.mark.parametrize(("steps", "lets_in"), [(-1, True), (1, True), (-3, False), (3, False)])
def test_clock_of_a_telephone_may_be_off_by_one_step(client, steps, lets_in):
    user, secret = make_user_with_app()
    enter_password(client, user)
    enter_code(client, code_of(secret, steps))
    assert is_signed_in(client) == lets_in


def test_recovery_code_lets_in_once(client):
    user, _ = make_user_with_app()
    first = recovery_codes_of(user)[0]
    enter_password(client, user)
    assert enter_code(client, f" {first[:4]}-{first[4:]} ").status_code == 302
    assert is_signed_in(client)
    assert second_factors_of(user).codes_left == 9

    other = Client()
    enter_password(other, user)
    assert enter_code(other, first).status_code == 200
    assert not is_signed_in(other)


@pytest.mark.django_db(transaction=True)
def test_one_code_at_the_same_instant_lets_in_one():
    user, _ = make_user_with_app()
    code = recovery_codes_of(user)[0]
    clients = [Client() for _ in range(4)]
    for client in clients:
        enter_password(client, user)

    def enter(client: Client) -> int:
        try:
            return enter_code(client, code).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(clients)) as together:
        answers = list(together.map(enter, clients))
    assert sorted(answers) == [200, 200, 200, 302]
    assert sum(map(is_signed_in, clients)) == 1
    assert second_factors_of(user).codes_left == 9


def test_codes_are_guessed_five_times_at_most(client, caplog):
    user, secret = make_user_with_app()
    enter_password(client, user)
    answers = [enter_code(client, f"{n:06}") for n in range(6)]
    assert "not right" in answers[4].text
    assert "Too many wrong codes" in answers[5].text
    assert "rate_exceeded name=code" in caplog.text
    assert "Too many wrong codes" in enter_code(client, code_of(secret)).text
    other = Client()
    enter_password(other, user)
    assert "Too many wrong codes" in enter_code(other, code_of(secret)).text
    assert not is_signed_in(other)


def test_codes_are_not_checked_while_guesses_cannot_be_counted(client, monkeypatch):
    user, secret = make_user_with_app()
    enter_password(client, user)

    def away(*args, **kwargs):
        raise RedisConnectionError("refused")

    monkeypatch.setattr("django.core.cache.backends.redis.RedisCache.add", away)
    answer = enter_code(client, code_of(secret))
    assert answer.status_code == 503
    assert "Nobody can sign in" in answer.text
    assert not is_signed_in(client)


def test_password_waits_a_quarter_of_an_hour_for_its_second_factor(client):
    user, secret = make_user_with_app()
    enter_password(client, user)
    session = client.session
    session["account_login"]["initiated_at"] -= 15 * 60 + 1
    session.save()
    assert enter_code(client, code_of(secret))["Location"] == SIGN_IN
    assert not is_signed_in(client)


def test_secrets_are_sealed_in_the_database():
    user, secret = make_user_with_app()
    stored = repr(list(connection.database["mfa_authenticator"].find()))
    assert str(user.pk) in stored
    assert secret not in stored
    for code in recovery_codes_of(user):
        assert code not in stored


def test_app_is_set_up_with_the_secret_on_the_page(client):
    user = make_user()
    enter_password(client, user)
    prove_mail(client)
    page = client.get(ADD_APP)
    secret = page.context["form"].secret
    assert secret in page.text
    assert page.context["totp_svg_data_uri"].startswith("data:image/svg+xml;base64,")
    assert client.post(ADD_APP, {"code": "000000"}).status_code == 200
    assert not second_factors_of(user)

    code = code_of(secret)
    assert client.post(ADD_APP, {"code": code})["Location"] == CODES
    codes = client.get(CODES).context["unused_codes"]
    assert codes == recovery_codes_of(user)
    assert second_factors_of(user).app
    assert [m.to for m in mail.outbox] == [[user.email]]
    assert "authenticator app was added" in mail.outbox[0].body
    # The code that set the app up is used.
    other = Client()
    enter_password(other, user)
    assert enter_code(other, code).status_code == 200


def test_recovery_codes_are_shown_once_and_made_anew():
    user, secret = make_user_with_app()
    client = signed_in_freshly(user, secret)
    shown = client.get(CODES)
    codes = recovery_codes_of(user)
    assert all(code in shown.text for code in codes)
    assert shown.text.count(codes[0]) == 2, "once to read, once to download"
    again = client.get(CODES)
    assert not any(code in again.text for code in codes)
    assert client.post(f"{CODES}new/")["Location"] == CODES
    assert not set(codes) & set(client.get(CODES).context["unused_codes"])


def test_removing_the_app_takes_the_recovery_codes_with_it():
    user, secret = make_user_with_app()
    client = signed_in_freshly(user, secret)
    assert client.get(f"{ADD_APP}remove/").status_code == 200
    assert client.post(f"{ADD_APP}remove/")["Location"] == SECURITY
    assert not Authenticator.objects.filter(user=user).exists()
    assert "app was removed" in mail.outbox[-1].body


@pytest.mark.parametrize(
    "path", ["security/app/", "security/app/remove/", "security/codes/", "security/passkeys/add/"]
)
def test_change_to_a_second_factor_asks_for_proof_again(path):
    user, secret = make_user_with_app()
    client = signed_in_freshly(user, secret)
    forget_proofs(client)
    address = f"/accounts/{path}"
    if path == "security/app/":
        # Add one to what they have, not their first one.
        apps = Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP)
        apps.update(type=Authenticator.Type.WEBAUTHN)
    answer = client.get(address)
    assert answer["Location"] == f"{AGAIN}?next={address.replace('/', '%2F')}"
    assert "Is it you?" in client.get(answer["Location"]).text
    assert client.post(answer["Location"], {"password": "wrong"}).status_code == 200
    assert client.get(address)["Location"].startswith(AGAIN)
    assert client.post(answer["Location"], {"password": PASSWORD})["Location"] == address
    assert client.get(address).status_code == 200


def test_proof_again_may_be_a_code():
    user, secret = make_user_with_app()
    client = signed_in_freshly(user, secret)
    forget_proofs(client)
    page = client.get(AGAIN)
    assert reverse("mfa_reauthenticate") in page.text
    answer = client.post(f"{AGAIN}code/?next={CODES}", {"code": code_of(secret, 1)})
    assert answer["Location"] == CODES
    assert client.get(CODES).status_code == 200


def test_wrong_passwords_asked_for_again_lock_like_those_of_sign_in(client_of):
    user = make_user()
    client = client_of(user)
    for _ in range(9):
        client.post(AGAIN, {"password": "wrong"})
    assert client.post(AGAIN, {"password": "wrong"}).status_code == 429
    assert enter_password(Client(), user).status_code == 429


def test_operator_takes_away_a_lost_second_factor():
    user, secret = make_user_with_app()
    client = signed_in_freshly(user, secret)
    call_command("second_factor_remove", user.email, stdout=StringIO())
    assert client.get("/accounts/")["Location"].startswith(SIGN_IN)
    assert is_signed_in(signed_in_freshly(user))
    for email in (user.email, "nobody@example.org"):
        with pytest.raises(CommandError):
            call_command("second_factor_remove", email)


def test_proof_is_recent_for_five_minutes(client, monkeypatch):
    enter_password(client, make_user())
    prove_mail(client)
    assert client.get(ADD_APP).status_code == 200
    now_s = time.time()
    monkeypatch.setattr("accounts.sign_in.services.time.time", lambda: now_s + 5 * 60 + 1)
    assert client.get(ADD_APP)["Location"].startswith(AGAIN)
