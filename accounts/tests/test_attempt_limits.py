"""What anybody may try without signing in is counted for each address."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisConnectionError

from accounts.limits import middleware
from accounts.limits.middleware import ATTEMPTS
from accounts.permissions import Role
from accounts.sign_in.guesses import CHANCES
from accounts.sign_in.tests.factories import (
    code_of,
    enter_code,
    enter_password,
    is_signed_in,
    make_user_with_app,
)
from accounts.sign_in.views import entrance
from accounts.tests.factories import PASSWORD, make_invitation, token_of
from drservice.testing.pages import body_without_token

pytestmark = pytest.mark.django_db

SIGN_IN = reverse("accounts:sign-in")
INVITATION = reverse("accounts:invitation")
WAITING_ROOM = "203.0.113.7"
VARYING = {"Expires", "Retry-After", "Content-Length"}
OWN = "quiet green lantern 7"


@pytest.fixture
def few_attempts(monkeypatch) -> None:
    cache.clear()
    monkeypatch.setattr(middleware, "ATTEMPTS", replace(ATTEMPTS, most=2, window_s=600))


def attempt(number: int, address: str = "203.0.113.7", **fields):
    sent = {"email": f"person{number}@example.org", "password": "wrong", **fields}
    return Client(REMOTE_ADDR=address).post(SIGN_IN, sent)


def test_one_address_tries_many_names_a_few_times_only(few_attempts, two_hospitals):
    assert [attempt(number).status_code for number in range(2)] == [400, 400]
    refused = attempt(3, email=two_hospitals.a.staff.email, password=PASSWORD)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= middleware.ATTEMPTS.window_s
    assert f"Try again in {refused['Retry-After']} second" in refused.text
    other = attempt(4, "203.0.113.8", email=two_hospitals.a.staff.email, password=PASSWORD)
    assert other.status_code == 302
    assert Client(REMOTE_ADDR="203.0.113.7").get(SIGN_IN).status_code == 200


def test_who_is_signed_in_is_not_counted(few_attempts, two_hospitals, client_of):
    client = client_of(two_hospitals.a.staff)
    assert [client.post(SIGN_IN).status_code for _ in range(4)] == [302] * 4


def test_nobody_tries_while_nobody_counts(monkeypatch):
    def away(*arguments):
        raise RedisConnectionError("refused")

    monkeypatch.setattr(cache, "add", away)
    refused = attempt(1)
    assert refused.status_code == 503
    assert "Nobody can sign in at the moment" in refused.text


def test_attempt_doors_exist():
    for name in settings.ATTEMPT_DOORS - {"account_reset_password_from_key"}:
        assert reverse(name)


def storm(address: str = WAITING_ROOM) -> None:
    """Use up what an address may try."""
    while attempt(1, address).status_code != 429:
        pass


def at(address: str = WAITING_ROOM) -> Client:
    return Client(REMOTE_ADDR=address)


def works_at(user) -> None:
    """Let a person have signed in where the storm will be."""
    assert enter_password(at(), user).status_code == 302


def test_staff_sign_in_through_a_storm_of_tries_from_their_waiting_room(
    few_attempts, two_hospitals
):
    nurse, newcomer = two_hospitals.a.staff, two_hospitals.b.staff
    works_at(nurse)
    storm()
    assert enter_password(at(), newcomer).status_code == 429
    client = at()
    assert enter_password(client, nurse).status_code == 302
    assert is_signed_in(client)


def test_storm_does_not_tell_who_works_there(few_attempts, two_hospitals):
    nurse = two_hospitals.a.staff
    works_at(nurse)
    storm()
    for _ in range(12):
        answers = []
        for email in (nurse.email, two_hospitals.b.staff.email, "nobody@example.org"):
            response = at().post(SIGN_IN, {"email": email, "password": "wrong"})
            assert 0 < int(response["Retry-After"]) <= middleware.ATTEMPTS.window_s
            body = re.sub(rb"in \d+ seconds?", b"", body_without_token(response))
            head = {name: text for name, text in response.items() if name not in VARYING}
            answers.append((response.status_code, body, head))
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][0] == 429


def test_refusal_takes_as_long_for_whom_nobody_knows_there(
    few_attempts, two_hospitals, monkeypatch
):
    works_at(two_hospitals.a.staff)
    storm()
    monkeypatch.setattr(entrance, "REFUSED_AFTER_S", 0.3)
    for email in (two_hospitals.a.staff.email, "nobody@example.org"):
        began_s = time.monotonic()
        assert attempt(1, WAITING_ROOM, email=email).status_code == 429
        assert time.monotonic() - began_s >= 0.3


def test_storm_at_once_on_somebody_known_looks_at_ten_passwords(
    few_attempts, two_hospitals, hashings
):
    nurse = two_hospitals.a.staff
    works_at(nurse)
    storm()
    hashings.clear()

    def guess(number: int) -> int:
        try:
            return attempt(number, WAITING_ROOM, email=nurse.email).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(15) as together:
        assert list(together.map(guess, range(15))) == [429] * 15
    assert 1 <= len(hashings) <= CHANCES.most


def test_half_finished_sign_in_is_finished_in_a_storm(few_attempts):
    user, secret = make_user_with_app()
    client, without_password = at(), at()
    enter_password(client, user)
    storm()
    assert enter_code(without_password, code_of(secret)).status_code == 429
    assert "not right" in enter_code(client, "000000").text
    assert enter_code(client, code_of(secret)).status_code == 302
    assert is_signed_in(client)


def test_invitation_is_accepted_in_a_storm(few_attempts, two_hospitals):
    hospital = two_hospitals.a.hospital
    invitation = make_invitation(hospital, Role.STAFF)
    client, without_link = at(), at()
    token = token_of(invitation.email, hospital)
    client.get(reverse("accounts:invitation-link", args=[token]))
    storm()
    fields = {"name": "A newcomer", "new_password1": OWN, "new_password2": OWN}
    assert without_link.post(INVITATION, fields).status_code == 429
    assert client.post(INVITATION, fields).status_code == 302
    assert is_signed_in(client)
    tomorrow = at().post(SIGN_IN, {"email": invitation.email, "password": OWN})
    assert tomorrow.status_code == 302, "joining has made them known there"


def test_passkey_is_looked_at_in_a_storm(few_attempts):
    storm()
    page = at().post(reverse("mfa_login_webauthn"), {"credential": "{}"})
    assert page.status_code == 302, "back to the form, as it is a wrong one"


def test_other_open_forms_stay_shut_in_a_storm(few_attempts, two_hospitals):
    works_at(two_hospitals.a.staff)
    storm()
    asked = at().post(reverse("account_reset_password"), {"email": two_hospitals.a.staff.email})
    assert asked.status_code == 429
    assert at().post(SIGN_IN, {"email": two_hospitals.a.staff.email}).status_code == 429


def test_network_of_version_6_is_one_address(few_attempts, two_hospitals):
    nurse = two_hospitals.a.staff
    assert enter_password(at("2001:db8:0:7::1"), nurse).status_code == 302
    storm("2001:db8:0:7::2")
    assert attempt(1, "2001:db8:0:7::3").status_code == 429
    assert attempt(1, "2001:db8:0:8::3").status_code == 400
    assert enter_password(at("2001:db8:0:7:a:b:c:d"), nurse).status_code == 302
