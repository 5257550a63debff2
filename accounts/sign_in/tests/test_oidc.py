"""Signing in through a directory: a real provider on a loopback port, and its odd answers."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from allauth.socialaccount.models import SocialAccount, SocialToken
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import connection
from django.test import Client

from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent
from accounts.audit.selectors import ToldEvent, events_told
from accounts.models import User
from accounts.scoping import every_hospital
from accounts.sign_in.tests.factories import (
    CODE,
    SIGN_IN,
    add_app,
    code_of,
    enter_code,
    enter_password,
    is_signed_in,
)
from accounts.sign_in.tests.provider import CLIENT_ID, CLIENT_SECRET, running_provider
from accounts.tests.factories import make_user

pytestmark = pytest.mark.django_db

BEGIN, BACK = "/accounts/sign-in/directory/", "/accounts/sign-in/directory/back/"


@pytest.fixture(scope="module")
def running():
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(running, settings):
    for name in ("claims", "token_claims", "userinfo"):
        getattr(running, name).clear()
    running.algorithm, running.signing_key, running.error = "RS256", None, ""
    running.sends_id_token, running.says_it_is = True, ""
    settings.OIDC_NAME, settings.OIDC_DOMAINS = "Lakeside directory", []
    app = {
        "provider_id": "oidc",
        "name": "Lakeside directory",
        "client_id": CLIENT_ID,
        "secret": CLIENT_SECRET,
        "settings": {"server_url": running.issuer, "oauth_pkce_enabled": True},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}
    return running


def knows(provider, email: str, **claims) -> None:
    """Let the provider vouch for an e-mail."""
    person = {"sub": f"person-{email}", "email": email, "email_verified": True}
    provider.claims.update({**person, **claims})


def walk(client: Client, begin: str = BEGIN):
    """Go to the provider and come back, as a browser does."""
    leaving = client.get(begin)
    assert leaving.status_code == 302
    arrived = requests.get(leaving["Location"], allow_redirects=False, timeout=5)
    back = urlsplit(arrived.headers["Location"])
    assert back.path == BACK
    return client.get(f"{back.path}?{back.query}")


def test_person_with_the_same_verified_e_mail_is_let_in(provider, client):
    user = make_user()
    knows(provider, user.email.upper())
    assert walk(client)["Location"] == "/accounts/"
    assert client.session["_auth_user_id"] == str(user.pk)
    assert "Lakeside directory" in mail.outbox[0].body

    # From now on by the provider's own name for them, whatever their e-mail is called there.
    provider.claims["email"] = "renamed@example.org"
    again = Client()
    walk(again)
    assert again.session["_auth_user_id"] == str(user.pk)
    assert SocialAccount.objects.count() == 1


def test_sign_in_page_names_the_directory_only_where_there_is_one(provider, client, settings):
    assert "Through Lakeside directory" in client.get(SIGN_IN).text
    settings.OIDC_NAME = ""
    assert "Through" not in client.get(SIGN_IN).text
    assert client.get(BEGIN)["Location"] == client.get(BACK)["Location"] == SIGN_IN


def test_nothing_of_the_directory_is_kept_but_its_name_for_the_person(provider, client):
    user = make_user()
    knows(provider, user.email, name="A secret name", phone_number="+254700000000")
    walk(client)
    walk(Client())
    stored = repr(
        [list(connection.database[name].find()) for name in ("socialaccount_socialaccount",)]
    )
    assert "A secret name" not in stored
    assert "+2547" not in stored
    assert not SocialToken.objects.exists()
    for session in Session.objects.all():
        assert "an access token" not in repr(session.get_decoded())


@pytest.mark.parametrize("email", ["nobody@example.org", "", "not an e-mail"])
def test_unknown_person_gets_no_account(provider, client, email):
    knows(provider, email)
    page = walk(client)
    assert page.status_code == 403
    assert "No account here yet" in page.text
    assert "Lakeside directory" in page.text
    assert not is_signed_in(client)
    assert not User.objects.exists()


@pytest.mark.parametrize("verified", [False, None, "false", "no", 0, "verified"])
def test_unverified_e_mail_links_nobody(provider, client, verified):
    user = make_user()
    knows(provider, user.email, email_verified=verified)
    assert walk(client).status_code == 403
    assert not is_signed_in(client)
    assert not SocialAccount.objects.exists()


def test_e_mails_may_be_taken_as_verified_by_a_setting(provider, client, settings):
    settings.OIDC_EMAILS_ARE_VERIFIED = True
    user = make_user()
    knows(provider, user.email)
    del provider.claims["email_verified"]
    walk(client)
    assert is_signed_in(client)


def test_directory_opens_no_operators_account(provider, client):
    operator, user = make_user(is_operator=True), make_user()
    knows(provider, operator.email)
    assert walk(client).status_code == 403
    assert not SocialAccount.objects.exists()

    knows(provider, user.email)
    walk(Client())
    User.objects.filter(pk=user.pk).update(is_operator=True)
    assert walk(client).status_code == 403
    assert not is_signed_in(client)


def test_directory_speaks_for_its_own_mail_alone(provider, client, settings):
    ours, theirs = make_user(email="a@lakeside.example"), make_user(email="b@hill.example")
    knows(provider, theirs.email)
    walk(Client())
    settings.OIDC_DOMAINS = ["lakeside.example"]
    # Also not for somebody who came this way before.
    assert walk(client).status_code == 403
    knows(provider, "somebody@notlakeside.example")
    make_user(email="somebody@notlakeside.example")
    assert walk(client).status_code == 403
    assert not is_signed_in(client)
    knows(provider, ours.email)
    walk(client)
    assert client.session["_auth_user_id"] == str(ours.pk)


def test_closed_account_stays_closed(provider, client):
    gone = make_user(is_active=False)
    knows(provider, gone.email)
    assert walk(client).status_code == 403
    User.objects.filter(pk=gone.pk).update(is_active=True)
    assert walk(Client()).status_code == 302
    User.objects.filter(pk=gone.pk).update(is_active=False)
    page = walk(client)
    assert page.status_code == 403
    assert "not in use" in page.text
    assert not is_signed_in(client)


def test_directory_does_not_stand_in_for_the_second_factor(provider, client):
    user = make_user()
    secret = add_app(user)
    knows(provider, user.email)
    assert walk(client, f"{BEGIN}?next=/accounts/sessions/")["Location"] == CODE
    assert not is_signed_in(client)
    assert user.password not in repr(dict(client.session))
    assert enter_code(client, code_of(secret))["Location"] == "/accounts/sessions/"
    assert is_signed_in(client)


def test_directory_stands_in_for_the_mail_before_a_first_second_factor(provider, client):
    user = make_user()
    knows(provider, user.email)
    walk(client)
    assert client.get("/accounts/security/app/").status_code == 200
    by_password = Client()
    enter_password(by_password, user)
    assert by_password.get("/accounts/security/app/").status_code == 302


def test_first_password_that_others_know_stops_working(provider, client):
    user = make_user(must_change_password=True)
    knows(provider, user.email)
    walk(client)
    assert is_signed_in(client)
    assert enter_password(Client(), user).status_code == 400
    assert not User.objects.get(pk=user.pk).must_change_password


def test_own_password_goes_on_working(provider, client):
    user = make_user()
    knows(provider, user.email)
    walk(client)
    assert enter_password(Client(), user).status_code == 302


def test_what_a_directory_does_is_kept(provider, client):
    user = make_user(must_change_password=True)
    gone = make_user(is_active=False)
    for email in (user.email, gone.email, "Nobody@example.org"):
        knows(provider, email)
        walk(Client())
    User.objects.filter(pk=user.pk).update(is_active=False)
    knows(provider, user.email)
    walk(client)
    linked, came, refused, unknown, closed = platform_events()
    assert linked.after == {"directory": "linked", "first_password": "void"}
    assert (linked.event.action, came.event.action) == (Action.CHANGE, Action.SIGN_IN)
    for one, reason in ((refused, "not let in"), (unknown, "not let in"), (closed, "is closed")):
        assert one.event.action == Action.SIGN_IN_FAILED
        assert reason in one.reason
    assert [one.event.subject_id for one in (refused, closed)] == [str(gone.pk), str(user.pk)]
    assert "nobody" not in str(vars(unknown.event)).lower()


def test_directory_links_and_refuses_nobody_without_an_event(provider, client, audit_refused):
    user = make_user(must_change_password=True)
    for email in (user.email, "nobody@example.org"):
        knows(provider, email)
        with audit_refused():
            assert walk(client).status_code == 503
    assert not SocialAccount.objects.exists()
    assert User.objects.get(pk=user.pk).must_change_password
    assert not is_signed_in(client)


def platform_events() -> list[ToldEvent]:
    with every_hospital("a test"):
        events = AuditEvent.objects.filter(hospital_id=None).order_by("seq")
        return events_told(events, hospital_id=None)


def other_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize(
    "fault",
    [
        lambda provider: setattr(provider, "signing_key", other_key()),
        lambda provider: setattr(provider, "algorithm", "none"),
        lambda provider: setattr(provider, "algorithm", "HS256"),
        lambda provider: setattr(provider, "sends_id_token", False),
        lambda provider: provider.token_claims.update(iss="https://evil.example"),
        lambda provider: provider.token_claims.update(aud="another client"),
        lambda provider: provider.token_claims.update(exp=int(time.time()) - 60),
        lambda provider: provider.token_claims.update(sub="somebody else"),
        lambda provider: provider.userinfo.update(sub="somebody else"),
        lambda provider: provider.userinfo.update(sub=None),
        lambda provider: setattr(provider, "error", "server_error"),
    ],
)
def test_answer_that_cannot_be_trusted_lets_nobody_in(provider, client, fault, caplog):
    user = make_user()
    knows(provider, user.email)
    fault(provider)
    if provider.algorithm != "RS256":
        provider.signing_key = "" if provider.algorithm == "none" else CLIENT_SECRET * 3
    page = walk(client)
    assert page.status_code == 401
    assert "did not work" in page.text
    assert "directory_refused" in caplog.text
    assert user.email not in caplog.text
    assert not is_signed_in(client)


def test_provider_that_says_it_is_another_one_is_not_believed(provider, client):
    knows(provider, make_user().email)
    provider.says_it_is = "https://evil.example"
    assert walk(client).status_code == 503
    assert not is_signed_in(client)


def test_cancelling_leads_back_to_sign_in(provider, client):
    provider.error = "access_denied"
    assert walk(client)["Location"] == SIGN_IN
    assert "It was cancelled" in client.get(SIGN_IN).text.replace("it was", "It was")


def test_answer_works_in_the_browser_that_asked_and_once(provider, client):
    user = make_user()
    knows(provider, user.email)
    leaving = client.get(BEGIN)["Location"]
    back = requests.get(leaving, allow_redirects=False, timeout=5).headers["Location"]
    path = back.removeprefix("http://testserver")
    stranger = Client()
    assert stranger.get(path).status_code == 401
    assert not is_signed_in(stranger)
    assert client.get(path).status_code == 302
    client.post("/accounts/sign-out/")
    assert client.get(path).status_code == 401


def test_address_changes_nothing_but_the_page_to_come_back_to(provider, client):
    asked = (
        "process=connect&scope=admin&auth_params=prompt%3Dnone%26client_id%3Dx&next=//evil.example/"
    )
    leaving = parse_qs(urlsplit(client.get(f"{BEGIN}?{asked}")["Location"]).query)
    assert set(leaving) == {
        "client_id", "redirect_uri", "scope", "response_type", "state",
        "code_challenge", "code_challenge_method",
    }  # fmt: skip
    assert set(leaving["scope"][0].split()) == {"openid", "profile", "email"}
    assert leaving["client_id"] == [CLIENT_ID]
    assert leaving["code_challenge_method"] == ["S256"]
    knows(provider, make_user().email)
    assert walk(client, f"{BEGIN}?{asked}")["Location"] == "/accounts/"


def test_who_is_signed_in_stays_who_they_are(provider, client_of):
    user, other = make_user(), make_user()
    knows(provider, other.email)
    client = client_of(user)
    assert client.get(BEGIN)["Location"] == "/accounts/"
    assert client.get(f"{BACK}?code=x&state=y")["Location"] == "/accounts/"
    assert client.session["_auth_user_id"] == str(user.pk)


def test_provider_out_of_reach_is_said(provider, client, settings, caplog):
    apps = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]
    apps[0]["settings"]["server_url"] = "http://127.0.0.1:1"
    page = client.get(BEGIN)
    assert page.status_code == 503
    assert "out of reach" in page.text
    assert "directory_unreachable cause=ConnectionError" in caplog.text
