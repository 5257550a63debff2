"""People see where they are signed in, and end what isn't theirs."""

import pytest
from allauth.usersessions.models import UserSession
from bson import ObjectId
from django.contrib.sessions.models import Session
from django.test import Client

from accounts.services import user_end_sessions
from accounts.sign_in.selectors import device_in_words, sessions_of
from accounts.sign_in.tests.factories import enter_password, is_signed_in, signed_in_freshly
from accounts.tests.factories import PASSWORD, make_user
from drservice.testing.pages import body_without_token

pytestmark = pytest.mark.django_db

LIST, OTHERS = "/accounts/sessions/", "/accounts/sessions/others/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Safari/537.36"
)
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
)


def signed_in_from(user, address: str, device: str) -> Client:
    client = Client(REMOTE_ADDR=address, headers={"User-Agent": device})
    enter_password(client, user)
    client.get("/accounts/")
    return client


def test_list_shows_each_device_address_and_time():
    user = make_user()
    here = signed_in_from(user, "192.0.2.7", FIREFOX)
    signed_in_from(user, "198.51.100.9", SAFARI)
    page = here.get(LIST).text
    for words in ("Firefox on Linux", "192.0.2.7", "Safari on iPhone", "198.51.100.9"):
        assert words in page
    assert page.count("This one") == 1
    assert page.count(">End<") == 1


def test_one_session_is_ended_and_the_others_go_on():
    user = make_user()
    here, lost, third = (signed_in_from(user, f"192.0.2.{n}", CHROME) for n in (1, 2, 3))
    theirs = UserSession.objects.get(ip="192.0.2.2")
    assert here.post(f"{LIST}{theirs.pk}/")["Location"] == LIST
    assert lost.get("/accounts/")["Location"].startswith("/accounts/sign-in/")
    assert third.get("/accounts/").status_code == 200
    assert not Session.objects.filter(session_key=theirs.session_key).exists()
    assert "192.0.2.2" not in here.get(LIST).text


def test_all_others_are_ended_at_once():
    user, somebody = make_user(), make_user()
    here, second, third = (signed_in_from(user, f"192.0.2.{n}", CHROME) for n in (1, 2, 3))
    bystander = signed_in_from(somebody, "192.0.2.4", CHROME)
    assert here.post(OTHERS)["Location"] == LIST
    assert [one.get("/accounts/").status_code for one in (here, second, third, bystander)] == [
        200,
        302,
        302,
        200,
    ]


def test_session_of_somebody_else_is_the_404_of_one_that_never_was():
    user, somebody = make_user(), make_user()
    client = signed_in_freshly(user)
    other = signed_in_freshly(somebody)
    other.get("/accounts/")
    theirs = UserSession.objects.get(user=somebody)
    foreign, missing = client.post(f"{LIST}{theirs.pk}/"), client.post(f"{LIST}{ObjectId()}/")
    assert foreign.status_code == missing.status_code == 404
    assert body_without_token(foreign) == body_without_token(missing)
    assert other.get("/accounts/").status_code == 200


def test_list_leaves_out_what_is_over(monkeypatch):
    user = make_user()
    idle = signed_in_from(user, "192.0.2.2", CHROME)
    signed_out = signed_in_from(user, "192.0.2.3", CHROME)
    signed_out.post("/accounts/sign-out/")
    row = UserSession.objects.get(ip="192.0.2.2")
    row.last_seen_at = row.last_seen_at.replace(year=row.last_seen_at.year - 1)
    row.save()
    here = signed_in_from(user, "192.0.2.1", CHROME)
    assert [session.ip for session in sessions_of(user)] == ["192.0.2.1"]
    assert is_signed_in(here)
    assert is_signed_in(idle)


def test_ending_everything_empties_the_list():
    user = make_user()
    client = signed_in_from(user, "192.0.2.2", CHROME)
    user_end_sessions(user=user)
    assert client.get(LIST).status_code == 302
    assert sessions_of(user) == []


def test_new_password_ends_the_others_and_keeps_this_one_listed():
    user = make_user()
    here, old = (signed_in_from(user, f"192.0.2.{n}", CHROME) for n in (1, 2))
    fields = {"old_password": PASSWORD, "new_password1": "quiet green lantern 7"}
    here.post("/accounts/password/", {**fields, "new_password2": "quiet green lantern 7"})
    assert here.get("/accounts/").status_code == 200
    assert old.get("/accounts/").status_code == 302
    assert [session.ip for session in sessions_of(user)] == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (FIREFOX, "Firefox on Linux"),
        (CHROME, "Chrome on Windows"),
        (CHROME + " Edg/140.0.0.0", "Edge on Windows"),
        (SAFARI, "Safari on iPhone"),
        ("curl/8.0", "Unknown device"),
        ("", "Unknown device"),
        ("<script>alert(1)</script> Firefox", "Firefox"),
    ],
)
def test_device_is_named_in_a_few_words(user_agent, words):
    assert device_in_words(user_agent) == words
