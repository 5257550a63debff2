"""What anybody may try without signing in is counted for each address."""

from dataclasses import replace

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisConnectionError

from accounts.limits import middleware
from accounts.limits.middleware import ATTEMPTS
from accounts.tests.factories import PASSWORD

pytestmark = pytest.mark.django_db

SIGN_IN = reverse("accounts:sign-in")


@pytest.fixture
def few_attempts(monkeypatch) -> None:
    cache.clear()
    monkeypatch.setattr(middleware, "ATTEMPTS", replace(ATTEMPTS, most=2))


def attempt(number: int, address: str = "203.0.113.7", **fields):
    sent = {"email": f"person{number}@example.org", "password": "wrong", **fields}
    return Client(REMOTE_ADDR=address).post(SIGN_IN, sent)


def test_one_address_tries_many_names_a_few_times_only(few_attempts, two_hospitals):
    assert [attempt(number).status_code for number in range(2)] == [400, 400]
    refused = attempt(3, email=two_hospitals.a.staff.email, password=PASSWORD)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= ATTEMPTS.window_s
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
