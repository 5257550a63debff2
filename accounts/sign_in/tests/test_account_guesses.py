"""One account guessed from many addresses: its owner gets in where they are known, and is told."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.core import mail
from django.core.cache import cache
from django.db import connection
from django.test import Client
from redis.exceptions import ConnectionError as RedisConnectionError

from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent
from accounts.models import User
from accounts.scoping import every_hospital
from accounts.sign_in.guesses import ACCOUNT
from accounts.sign_in.tests.factories import (
    SIGN_IN,
    code_of,
    enter_code,
    enter_password,
    is_signed_in,
    make_user_with_app,
    recovery_codes_of,
)
from accounts.tests.factories import PASSWORD, make_user
from drservice.testing.pages import body_without_token

pytestmark = pytest.mark.django_db

WRONG = "not the password"
FEW = 3
VARYING = {"Expires", "Retry-After", "Content-Length"}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Three failures of an account are enough."""
    cache.clear()
    monkeypatch.setattr("accounts.sign_in.guesses.ACCOUNT", replace(ACCOUNT, most=FEW))


def at(number: int) -> Client:
    """Return a browser at an address of its own."""
    return Client(REMOTE_ADDR=f"198.51.100.{number}")


def at_home(user: User | None = None) -> Client:
    """Return a new browser at an address where a person, if one is given, signs in every day."""
    if user is not None:
        assert enter_password(at_home(), user).status_code == 302
    return Client(REMOTE_ADDR="203.0.113.7")


def try_one(client: Client, email: str, password: str = WRONG):
    return client.post(SIGN_IN, {"email": email, "password": password})


def use_up(email: str) -> list[int]:
    return [try_one(at(number), email).status_code for number in range(FEW)]


def headers_of(response) -> dict:
    """Return what stands in the head of an answer, but for when and how long it is."""
    return {name: text for name, text in response.items() if name not in VARYING}


def without(email: str, response) -> bytes:
    return body_without_token(response).replace(email.encode(), b"E-MAIL")


def test_one_account_is_guessed_a_few_times_from_all_addresses_together(hashings):
    user = make_user()
    assert use_up(user.email) == [400] * FEW
    hashings.clear()
    for password in (WRONG, PASSWORD):
        spelled = f" {user.email.upper()} "
        refused = try_one(at(100), spelled, password)
        assert refused.status_code == 429
        assert "Password forgotten?" in refused.text
    assert not hashings
    assert enter_password(at(100), make_user()).status_code == 302


def test_owner_gets_in_where_they_sign_in_every_day():
    user = make_user()
    home = at_home(user)
    use_up(user.email)
    assert enter_password(at(100), user).status_code == 429
    assert enter_password(home, user).status_code == 302
    assert is_signed_in(home)


def test_answer_does_not_tell_who_has_an_account_or_is_known_at_an_address():
    user, nobody = make_user(), "nobody@example.org"
    at_home(user)
    for email in (user.email, nobody):
        use_up(email)
    # Ten wrong ones would lock an e-mail at an address: that lock must not show either.
    for _ in range(12):
        answers = [
            (response.status_code, without(email, response), headers_of(response))
            for email, client in (
                (user.email, at_home()),
                (nobody, at_home()),
                (user.email, at(100)),
            )
            for response in [try_one(client, email)]
        ]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][0] == 429
    assert enter_password(at_home(), user).status_code == 429


def test_many_at_once_try_no_more_than_one_by_one(hashings):
    user, tries = make_user(), 12
    hashings.clear()

    def guess(number: int) -> int:
        try:
            return try_one(at(number), user.email).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(tries) as together:
        answers = list(together.map(guess, range(tries)))
    assert sorted(answers) == [400] * FEW + [429] * (tries - FEW)
    assert len(hashings) == FEW
    assert len(mail.outbox) == 1


def test_many_at_once_where_the_owner_is_known_have_ten_tries_left(hashings):
    user = make_user()
    at_home(user)
    use_up(user.email)
    hashings.clear()

    def guess(number: int) -> int:
        try:
            return try_one(at_home(), user.email).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(15) as together:
        answers = list(together.map(guess, range(15)))
    assert answers == [429] * 15
    assert 1 <= len(hashings) <= 10


def test_owner_is_told_once_and_nobody_else():
    user, gone = make_user(), make_user(is_active=False)
    for email in (user.email, gone.email, "nobody@example.org"):
        use_up(email)
        for number in range(5):
            try_one(at(100 + number), email)
    [told] = mail.outbox
    assert told.to == [user.email]
    assert told.subject == "Many wrong sign-ins to your account"
    assert "within the last 30 days" in told.body
    assert "knows your password" not in told.body
    with every_hospital("a test"):
        kept = AuditEvent.objects.filter(action=Action.LOCK_OUT)
        subjects = {event.subject_id for event in kept}
        assert kept.count() == 3, "one for each e-mail, be it somebody's or not"
    assert {str(user.pk), str(gone.pk)} < subjects


def test_right_passwords_use_nothing_up():
    user = make_user()
    for number in range(2 * FEW):
        assert enter_password(at(number), user).status_code == 302
    assert use_up(user.email)[0] == 400


def test_link_in_a_mail_opens_the_place_where_it_is_followed():
    user, somewhere = make_user(), at(50)
    use_up(user.email)
    assert enter_password(somewhere, user).status_code == 429
    somewhere.post("/accounts/forgotten/", {"email": user.email})
    [link] = re.findall(r"http://testserver(\S+)", mail.outbox[-1].body)
    chosen = {"password1": "quiet green lantern 7", "password2": "quiet green lantern 7"}
    form = somewhere.get(link)["Location"]
    assert somewhere.post(form, chosen).status_code == 302
    assert enter_password(at(51), user, "quiet green lantern 7").status_code == 429
    assert enter_password(somewhere, user, "quiet green lantern 7").status_code == 302


def test_codes_of_one_person_are_guessed_a_few_times_from_all_addresses_together():
    user, secret = make_user_with_app()
    early = at(100)
    enter_password(early, user)
    for number in range(FEW):
        thief = at(number)
        enter_password(thief, user)
        assert "not right" in enter_code(thief, "000000").text
    for code in (code_of(secret), recovery_codes_of(user)[0]):
        assert "Too many sign-ins with this e-mail" in enter_code(early, code).text
    assert not is_signed_in(early)
    [told] = mail.outbox
    assert told.to == [user.email]
    assert "knows your password" in told.body


def test_whoever_guesses_passwords_does_not_close_the_step_after_it():
    user, secret = make_user_with_app()
    client = at(100)
    enter_password(client, user)
    use_up(user.email)
    assert enter_code(client, code_of(secret)).status_code == 302
    assert is_signed_in(client)


def test_whoever_has_the_password_does_not_shut_the_owner_out_with_wrong_codes():
    user, secret = make_user_with_app()
    home, thief = at_home(), at(1)
    enter_password(home, user)
    assert enter_code(home, recovery_codes_of(user)[0]).status_code == 302
    enter_password(thief, user)
    answers = [enter_code(thief, f"{n:06}").text for n in range(FEW + 3)]
    assert "Too many sign-ins with this e-mail" in answers[FEW]
    again = at_home()
    enter_password(again, user)
    assert enter_code(again, code_of(secret)).status_code == 302
    assert is_signed_in(again)


def test_password_alone_makes_no_address_known():
    user, _ = make_user_with_app()
    thief = at(1)
    assert enter_password(thief, user).status_code == 302
    use_up(user.email)
    assert enter_password(thief, user).status_code == 429


def test_wrong_passwords_asked_for_again_count_too(client_of):
    user = make_user()
    client = client_of(user)
    for _ in range(FEW):
        assert "not your password" in client.post("/accounts/again/", {"password": WRONG}).text
    refused = client.post("/accounts/again/", {"password": PASSWORD})
    assert "Too many sign-ins with this e-mail" in refused.text
    assert enter_password(at(1), user).status_code == 429


def test_nobody_guesses_while_an_accounts_failures_cannot_be_counted(monkeypatch, hashings):
    user = make_user()
    hashings.clear()

    def away(*args, **kwargs):
        raise RedisConnectionError("refused")

    counting = ACCOUNT._times_more
    monkeypatch.setattr(
        "accounts.sign_in.guesses.RateLimit._times_more",
        lambda self, key: away() if self.name == "account" else counting(key),
    )
    assert enter_password(Client(), user).status_code == 503
    assert not hashings


def test_neither_an_e_mail_nor_an_address_stands_in_redis():
    user = make_user()
    at_home(user)
    use_up(user.email)
    kept = b" ".join(cache._cache.get_client().keys("*"))
    assert b"rate:account:" in kept
    assert user.email.encode() not in kept
    assert user.email.split("@")[0].encode() not in kept
