"""Before a first second factor: who knows the password alone doesn't get to set one up."""

from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from redis.exceptions import ConnectionError as RedisConnectionError

from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent
from accounts.audit.selectors import events_told
from accounts.models import Hospital
from accounts.scoping import every_hospital
from accounts.sign_in import first_factor
from accounts.sign_in.selectors import second_factors_of
from accounts.sign_in.tests.factories import (
    FIRST,
    FIRST_MAIL,
    add_app,
    code_in,
    code_of,
    enter_password,
    is_signed_in,
    mailed_code,
    make_user_with_app,
    prove_mail,
    signed_in_freshly,
)
from accounts.tests.factories import (
    PASSWORD,
    make_hospital,
    make_invitation,
    make_member,
    make_user,
    token_of,
)

pytestmark = pytest.mark.django_db

ADD_APP, ADD_PASSKEY = "/accounts/security/app/", "/accounts/security/passkeys/add/"
AGAIN, SECURITY = "/accounts/again/", "/accounts/security/"
WAYS = [ADD_APP, ADD_PASSKEY]


def is_open(client: Client, way: str = ADD_APP) -> bool:
    """Tell whether a client gets to set up a second factor."""
    answer = client.get(way)
    if answer.status_code == 200:
        return True
    assert answer["Location"].startswith(f"{FIRST}?next=")
    return False


def enter(client: Client, code: str):
    return client.post(FIRST, {"code": code})


@pytest.mark.parametrize("way", WAYS)
def test_password_alone_sets_up_no_second_factor(client, way):
    hospital = make_hospital()
    Hospital.objects.filter(pk=hospital.pk).update(mfa_required=True)
    user = make_member(hospital, "staff")
    enter_password(client, user)
    assert client.get(way)["Location"] == f"{FIRST}?next={way.replace('/', '%2F')}"
    answer = client.post(way, {"code": "000000", "name": "Planted", "credential": "{}"})
    assert answer["Location"].startswith(FIRST)
    assert "totp" not in repr(dict(client.session)), "no secret is made before the proof"
    assert client.get("/cases/")["Location"] == SECURITY
    assert not second_factors_of(user)


@pytest.mark.parametrize("way", WAYS)
def test_code_from_the_mail_leads_to_setting_up(client, way):
    user = make_user()
    enter_password(client, user)
    page = client.get(f"{FIRST}?next={way}")
    assert f'name="next" value="{way}"' in page.text
    assert client.post(FIRST_MAIL, {"next": way})["Location"].endswith(way.replace("/", "%2F"))
    [message] = mail.outbox
    assert message.to == [user.email]
    assert code_in(message.body) not in message.subject
    assert "http://testserver/accounts/forgotten/" in message.body
    page = client.get(f"{FIRST}?next={way}")
    assert "Look into your mail" in page.text
    assert code_in(message.body) not in page.text

    # As people type: small, and without the dash.
    typed = f" {code_in(message.body).lower().replace('-', '')} "
    assert client.post(FIRST, {"code": typed, "next": way})["Location"] == way
    assert is_open(client, way)
    assert client.get(FIRST)["Location"] == SECURITY


def test_code_leads_nowhere_else(client):
    enter_password(client, make_user())
    fields = {"code": mailed_code(client), "next": "https://evil.example/"}
    assert client.post(FIRST, fields)["Location"] == SECURITY


def test_code_counts_in_the_session_that_asked_for_it(client):
    user, other = make_user(), make_user()
    enter_password(client, user)
    code = mailed_code(client)
    for somebody in (user, other):
        elsewhere = signed_in_freshly(somebody)
        assert enter(elsewhere, code).status_code == 422
        assert not is_open(elsewhere)
    assert enter(client, code).status_code == 302
    assert is_open(client)


def test_code_counts_once(client):
    user = make_user()
    enter_password(client, user)
    code = mailed_code(client)
    asked = client.session[first_factor.SESSION_ASKED]
    enter(client, code)
    # The proof forgotten, and the question put back.
    session = client.session
    del session["account_authentication_methods"]
    session[first_factor.SESSION_ASKED] = asked
    session.save()
    assert enter(client, code).status_code == 422
    assert not is_open(client)


@pytest.mark.django_db(transaction=True)
def test_code_at_the_same_instant_proves_one_session():
    user = make_user()
    code = first_factor.code_hand_over(user=user)
    clients = [signed_in_freshly(user) for _ in range(3)]

    def enter_it(client: Client) -> int:
        try:
            return enter(client, code).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(clients)) as together:
        answers = sorted(together.map(enter_it, clients))
    assert answers == [302, 422, 422]
    assert sum(map(is_open, clients)) == 1


def test_new_code_takes_the_place_of_the_one_before(client):
    enter_password(client, make_user())
    first, second = mailed_code(client), mailed_code(client)
    assert enter(client, first).status_code == 422
    assert enter(client, second).status_code == 302


def test_code_is_over_after_ten_minutes(client):
    user = make_user()
    enter_password(client, user)
    code = mailed_code(client)
    key = first_factor._key(user, client.session[first_factor.SESSION_ASKED])
    assert 595 < cache._cache.get_client().ttl(cache.make_key(key)) <= 600
    cache.touch(key, 0)
    assert "Show that it is you" in client.get(FIRST).text
    page = enter(client, code)
    assert page.status_code == 422
    assert "its time is over" in page.text


def test_codes_are_random_and_long_enough():
    user = make_user()
    codes = {first_factor.code_hand_over(user=user) for _ in range(20)}
    assert len(codes) == 20
    letters = set("".join(codes)) - {"-"}
    assert len(letters) > 10
    assert all(len(code.replace("-", "")) == 8 for code in codes)


def test_code_is_guessed_five_times_at_most(client):
    user = make_user()
    enter_password(client, user)
    code = mailed_code(client)
    assert [enter(client, "BCDF-GHJK").status_code for _ in range(6)] == [422] * 5 + [429]
    assert "Too many wrong codes" in enter(client, code).text
    elsewhere = signed_in_freshly(user)
    assert enter(elsewhere, mailed_code(elsewhere)).status_code == 429
    assert not is_open(client)
    assert not is_open(elsewhere)


def test_nobody_is_flooded_with_codes(client):
    user = make_user()
    enter_password(client, user)
    for _ in range(3):
        mailed_code(client)
    elsewhere = signed_in_freshly(user)
    codes = [mailed_code(elsewhere) for _ in range(2)]
    page = elsewhere.post(FIRST_MAIL, follow=True)
    assert "Five codes were mailed to you" in page.text
    assert len(mail.outbox) == 5
    # The last one that was mailed still counts.
    assert enter(elsewhere, codes[-1]).status_code == 302


def test_codes_are_neither_sent_nor_taken_while_they_cannot_be_counted(client, monkeypatch):
    enter_password(client, make_user())
    code = mailed_code(client)

    def away(*args, **kwargs):
        raise RedisConnectionError("refused")

    with monkeypatch.context() as patch:
        patch.setattr("django.core.cache.backends.redis.RedisCache.add", away)
        assert enter(client, code).status_code == 503
        assert client.post(FIRST_MAIL).status_code == 503
    assert len(mail.outbox) == 1
    assert not is_open(client)


def test_code_is_kept_as_a_hash_and_not_logged(client, caplog):
    caplog.set_level("INFO")
    user = make_user()
    enter_password(client, user)
    code = mailed_code(client)
    bare = code.replace("-", "")
    session = Session.objects.get(session_key=client.session.session_key).get_decoded()
    key = first_factor._key(user, session[first_factor.SESSION_ASKED])
    assert len(cache.get(key)) == 22, "a keyed hash"
    kept = f"{key} {cache.get(key)} {session}"
    enter(client, "BCDF-GHJK")
    for text in (kept, caplog.text):
        assert code not in text.upper()
        assert bare not in text.upper()


def test_code_is_mailed_to_who_has_just_shown_the_password(client_of):
    client = client_of(make_user())
    answer = client.post(FIRST_MAIL, {"next": ADD_APP})
    assert answer["Location"].startswith(AGAIN)
    assert mail.outbox == []
    answer = client.post(answer["Location"], {"password": PASSWORD})
    assert answer["Location"] == f"{FIRST}?next={ADD_APP.replace('/', '%2F')}"
    assert len(mail.outbox) == 1


def test_further_factors_need_no_mail():
    user, secret = make_user_with_app()
    client = signed_in_freshly(user, secret)
    assert is_open(client, ADD_PASSKEY)
    assert client.get(FIRST)["Location"] == SECURITY
    assert client.post(FIRST_MAIL).status_code == 302
    assert mail.outbox == []


def test_person_whose_factor_was_taken_away_proves_their_mail_again(client):
    user = make_user()
    enter_password(client, user)
    prove_mail(client)
    add_app(user)
    call_command("second_factor_remove", user.email, stdout=StringIO())
    again = signed_in_freshly(user)
    assert not is_open(again)
    prove_mail(again)
    assert is_open(again)


def test_who_was_just_taken_in_by_a_link_needs_no_further_mail(client):
    hospital = make_hospital()
    Hospital.objects.filter(pk=hospital.pk).update(mfa_required=True)
    invitation = make_invitation(hospital, email="new@example.org")
    client.get(f"/accounts/invitation/{token_of(invitation.email, hospital)}/")
    own = "three words together"
    fields = {"name": "New", "new_password1": own, "new_password2": own}
    assert client.post("/accounts/invitation/", fields).status_code == 302
    assert client.get("/cases/")["Location"] == SECURITY
    assert all(is_open(client, way) for way in WAYS)
    # Bound to that session: the password alone is not enough an hour later, elsewhere.
    elsewhere = Client()
    elsewhere.post("/accounts/sign-in/", {"email": "new@example.org", "password": own})
    assert is_signed_in(elsewhere)
    assert not is_open(elsewhere)


def test_link_to_another_hospital_is_no_proof_for_an_account(client):
    """An admin may have handed it over: theirs must not help to take over somebody's account."""
    user = make_user()
    hospital = make_hospital()
    invitation = make_invitation(hospital, email=user.email)
    enter_password(client, user)
    client.get(f"/accounts/invitation/{token_of(invitation.email, hospital)}/")
    assert client.post("/accounts/invitation/")["Location"] == "/accounts/"
    assert not is_open(client)


def test_first_factor_ends_sessions_that_began_with_the_password_alone(client):
    user = make_user()
    listed, unlisted, somebody = (signed_in_freshly(one) for one in (user, user, make_user()))
    listed.get("/accounts/")
    enter_password(client, user)
    prove_mail(client)
    secret = client.get(ADD_APP).context["form"].secret
    before = client.session.session_key
    assert client.post(ADD_APP, {"code": code_of(secret)}).status_code == 302
    assert client.get("/accounts/").status_code == somebody.get("/accounts/").status_code == 200
    assert client.session.session_key != before
    for other in (listed, unlisted):
        assert other.get("/accounts/")["Location"].startswith("/accounts/sign-in/")


def test_other_sessions_end_though_the_event_of_the_codes_cannot_be_kept(client, monkeypatch):
    user = make_user()
    waiting = signed_in_freshly(user)
    enter_password(client, user)
    prove_mail(client)
    secret = client.get(ADD_APP).context["form"].secret
    monkeypatch.setattr(
        "allauth.mfa.totp.internal.flows.auto_generate_recovery_codes", _without_its_event
    )
    with pytest.raises(RuntimeError):
        client.post(ADD_APP, {"code": code_of(secret)})
    assert second_factors_of(user).app
    assert waiting.get("/accounts/")["Location"].startswith("/accounts/sign-in/")


def _without_its_event(request):
    raise RuntimeError("a test lets the second event fail")


def test_code_is_handed_over_where_no_mail_reaches(client, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    user = make_user()
    enter_password(client, user)
    page = client.get(FIRST)
    assert "second_factor_code" in page.text
    assert FIRST_MAIL not in page.text
    said = StringIO()
    call_command("second_factor_code", user.email.upper(), stdout=said)
    code = said.getvalue().partition("enters: ")[2].split()[0]
    stranger = signed_in_freshly(make_user())
    assert enter(stranger, code).status_code == 422
    assert enter(client, code).status_code == 302
    assert is_open(client)


def test_code_is_handed_over_to_those_alone_who_need_it():
    user, _ = make_user_with_app()
    for email in (user.email, "nobody@example.org"):
        with pytest.raises(CommandError):
            call_command("second_factor_code", email)


def test_codes_leave_events(client):
    hospital = make_hospital()
    user = make_member(hospital, "staff")
    enter_password(client, user)
    enter(client, mailed_code(client)[:-1])
    call_command("second_factor_code", user.email, stdout=StringIO())
    prove_mail(client)
    with every_hospital("a test"):
        events = AuditEvent.objects.filter(
            hospital_id=hospital.pk, action__in=[Action.MFA_CODE, Action.SIGN_IN_FAILED]
        )
        told = events_told(events.order_by("seq"), hospital_id=hospital.pk)
    assert [(one.event.action, one.reason) for one in told] == [
        (Action.MFA_CODE, "Mailed"),
        (Action.SIGN_IN_FAILED, "A wrong code for a first second factor"),
        (Action.MFA_CODE, "Handed over"),
        (Action.MFA_CODE, "Mailed"),
        (Action.MFA_CODE, "Entered"),
    ]
    assert {one.event.subject_id for one in told} == {str(user.pk)}


def test_nothing_is_mailed_or_proven_without_an_event(client, audit_refused):
    user = make_member(make_hospital(), "staff")
    enter_password(client, user)
    code = mailed_code(client)
    with audit_refused():
        assert client.post(FIRST_MAIL).status_code == 503
        assert enter(client, code).status_code == 503
    assert len(mail.outbox) == 1
    assert not is_open(client)
    assert not Authenticator.objects.filter(user=user).exists()


@pytest.mark.parametrize(
    "fields", [{"code[$ne]": "x"}, {"code": '{"$ne": null}'}, {"code": "B" * 5000}, {"code": "é\0"}]
)
def test_code_takes_operators_for_text(client, fields):
    enter_password(client, make_user())
    mailed_code(client)
    assert client.post(FIRST, fields).status_code == 422
    assert not is_open(client)
