"""One password tried at many accounts, and an old password tried at an open screen."""

from dataclasses import replace

import pytest
from django.core.cache import cache
from django.test import Client

from accounts.sign_in.guesses import FAILURES, OLD_PASSWORDS
from accounts.sign_in.tests.factories import enter_password, is_signed_in
from accounts.tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Three failures are enough, for an address and for an old password."""
    cache.clear()
    monkeypatch.setattr("accounts.sign_in.guesses.FAILURES", replace(FAILURES, most=3))
    monkeypatch.setattr("accounts.sign_in.forms.OLD_PASSWORDS", replace(OLD_PASSWORDS, most=3))


def guess_at_many_accounts(**place) -> list[int]:
    tried = [make_user() for _ in range(5)]
    return [enter_password(Client(**place), user, "Summer2026!").status_code for user in tried]


def test_one_password_is_tried_at_a_few_accounts_and_no_more():
    assert guess_at_many_accounts() == [400, 400, 400, 429, 429]
    newcomer = make_user()
    refused = enter_password(Client(), newcomer)
    assert refused.status_code == 429
    assert "Wait 15 minutes" in refused.text
    assert enter_password(Client(REMOTE_ADDR="203.0.113.9"), newcomer).status_code == 302


def test_who_signs_in_from_an_address_every_day_is_not_locked_out_by_others_there():
    nurse = make_user()
    assert enter_password(Client(), nurse).status_code == 302
    guess_at_many_accounts()
    client = Client()
    assert enter_password(client, nurse).status_code == 302
    assert is_signed_in(client)


def test_success_does_not_make_room_for_more_guesses():
    mine = make_user()
    for _ in range(2):
        guess_at_many_accounts()
        enter_password(Client(), mine)
    assert guess_at_many_accounts() == [429] * 5


def test_old_password_is_not_guessed_at_an_open_screen(client_of):
    user = make_user()
    client, own = client_of(user), "a password of their own"

    def change(old: str):
        fields = {"old_password": old, "new_password1": own, "new_password2": own}
        return client.post("/accounts/password/", fields)

    assert [change(f"guess {number}").status_code for number in range(3)] == [422] * 3
    assert "Too many tries" in change(PASSWORD).text
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
