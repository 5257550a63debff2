"""Signing in and out in the audit trail: for whose auditors, and what happens without it."""

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed, authenticator_added, authenticator_removed
from django.core import mail
from django.core.management import get_commands, load_command_class
from django.test import Client, RequestFactory

from accounts.audit.actions import Action
from accounts.audit.commands import ActingCommand
from accounts.audit.errors import AuditUnavailable
from accounts.audit.models import AuditEvent
from accounts.audit.selectors import ToldEvent, events_told
from accounts.models import User
from accounts.scoping import every_hospital
from accounts.services import (
    membership_create,
    user_end_sessions,
    user_reset_password,
    user_set_password,
)
from accounts.sign_in.services import second_factors_remove
from accounts.tests.factories import PASSWORD, make_hospital, make_member, make_user

pytestmark = pytest.mark.django_db

SIGN_IN, SIGN_OUT = "/accounts/sign-in/", "/accounts/sign-out/"
ACCOUNT_ACTIONS = [
    Action.SIGN_IN,
    Action.SIGN_IN_FAILED,
    Action.SIGN_OUT,
    Action.LOCK_OUT,
    Action.MFA_ADD,
    Action.MFA_REMOVE,
]


def sign_in(client: Client, email: str, password: str = PASSWORD):
    return client.post(SIGN_IN, {"email": email, "password": password})


def told(hospital_id) -> list[ToldEvent]:
    """Return what one chain says of people signing in and out, oldest first."""
    with every_hospital("a test"):
        events = AuditEvent.objects.filter(hospital_id=hospital_id, action__in=ACCOUNT_ACTIONS)
        return events_told(events.order_by("seq"), hospital_id=hospital_id)


def actions(hospital_id) -> list[str]:
    return [one.event.action for one in told(hospital_id)]


def test_sign_in_and_out_are_kept_in_every_hospital_of_a_person(client):
    hospital, other, foreign = make_hospital(), make_hospital(), make_hospital()
    user = make_member(hospital, "staff")
    membership_create(user=user, hospital=other, roles=["grader"])
    sign_in(client, user.email)
    client.post(SIGN_OUT)
    for one in (hospital, other):
        assert actions(one.pk) == [Action.SIGN_IN, Action.SIGN_OUT]
        [came, _] = told(one.pk)
        assert (came.event.actor_id, came.name, came.address) == (
            str(user.pk),
            user.name,
            "127.0.0.1",
        )
    assert actions(foreign.pk) == actions(None) == []


def test_sign_in_of_an_operator_is_kept_by_the_platform(client):
    sign_in(client, make_user(is_operator=True).email)
    assert actions(None) == [Action.SIGN_IN]


def test_failed_sign_in_is_kept_by_the_hospital_of_whom_it_was_tried_for(client):
    user = make_member(hospital := make_hospital(), "staff")
    sign_in(client, user.email, "wrong")
    [failed] = told(hospital.pk)
    assert failed.event.action == Action.SIGN_IN_FAILED
    assert failed.event.subject_id == str(user.pk)
    assert (failed.event.actor_kind, failed.event.actor_id) == ("anonymous", "")
    assert failed.address == "127.0.0.1"


def test_failed_sign_in_of_nobody_keeps_a_hash_of_what_was_typed(client):
    sign_in(client, "somebody@example.org", "wrong")
    sign_in(client, "Somebody@Example.org", "wrong")
    first, second = told(None)
    assert first.event.subject_id == second.event.subject_id
    assert "somebody" not in str(vars(first.event)).lower()


def test_lock_out_is_kept(client, settings):
    settings.AXES_FAILURE_LIMIT = 2
    user = make_member(hospital := make_hospital(), "staff")
    for _ in range(3):
        sign_in(client, user.email, "wrong")
    kept = actions(hospital.pk)
    assert kept.count(Action.LOCK_OUT) >= 1
    assert kept.count(Action.SIGN_IN_FAILED) >= 2


def test_nobody_is_signed_in_without_an_event(client, audit_refused):
    user = make_member(make_hospital(), "staff")
    with audit_refused():
        assert sign_in(client, user.email).status_code == 503
        assert sign_in(client, user.email, "wrong").status_code == 503
    assert client.get("/cases/").status_code == 302
    assert sign_in(client, user.email).status_code == 302
    assert client.get("/cases/").status_code == 200


def test_wrong_old_password_is_kept(client, audit_refused):
    user = make_member(hospital := make_hospital(), "staff")
    sign_in(client, user.email)
    own = "three words together"
    fields = {"old_password": "wrong", "new_password1": own, "new_password2": own}
    assert client.post("/accounts/password/", fields).status_code == 422
    assert told(hospital.pk)[-1].reason == "A wrong old password"
    with audit_refused():
        assert client.post("/accounts/password/", fields).status_code == 503


@pytest.mark.parametrize("address", ["sign-in/passkey/", "again/passkey/"])
def test_wrong_passkey_is_kept(client, address, audit_refused):
    user = make_member(hospital := make_hospital(), "staff")
    is_known = address.startswith("again")
    if is_known:
        sign_in(client, user.email)
        Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data={})
    wrong = {"credential": '{"id": "x"}'}
    client.post(f"/accounts/{address}", wrong)
    failed = told(hospital.pk if is_known else None)[-1]
    assert (failed.event.action, failed.reason) == (Action.SIGN_IN_FAILED, "A wrong passkey")
    with audit_refused():
        assert client.post(f"/accounts/{address}", wrong).status_code == 503


def test_link_for_a_new_password_is_not_mailed_without_an_event(client, audit_refused):
    user = make_user()
    with audit_refused():
        assert client.post("/accounts/forgotten/", {"email": user.email}).status_code == 503
    assert mail.outbox == []
    client.post("/accounts/forgotten/", {"email": user.email})
    assert len(mail.outbox) == 1


def test_sign_out_is_done_even_without_an_event(client, audit_refused, caplog):
    sign_in(client, make_member(make_hospital(), "staff").email)
    with audit_refused():
        assert client.post(SIGN_OUT).status_code == 302
    assert client.get("/cases/")["Location"].startswith(SIGN_IN)
    assert "sign_out_not_audited" in caplog.text


@pytest.fixture
def factor() -> Authenticator:
    user = make_member(make_hospital(), "staff")
    return Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={})


def send(signal, factor: Authenticator, user: User) -> None:
    request = RequestFactory().get("/")
    signal.send(sender=Authenticator, request=request, user=user, authenticator=factor)


def test_second_factors_are_kept(factor):
    user, hospital_id = factor.user, factor.user.memberships.get().hospital_id
    for signal in (authenticator_added, authentication_failed, authenticator_removed):
        send(signal, factor, user)
    assert actions(hospital_id) == [Action.MFA_ADD, Action.SIGN_IN_FAILED, Action.MFA_REMOVE]
    assert told(hospital_id)[0].after == {"kind": "totp"}
    assert told(hospital_id)[1].reason == "A wrong second factor"


def test_second_factor_is_not_changed_without_an_event(factor, audit_refused):
    user = factor.user
    with audit_refused(), pytest.raises(AuditUnavailable):
        send(authenticator_added, factor, user)
    assert not Authenticator.objects.filter(user=user).exists()
    with audit_refused(), pytest.raises(AuditUnavailable):
        send(authenticator_removed, factor, user)
    assert Authenticator.objects.filter(user=user).exists()


@pytest.mark.parametrize(
    ("act", "action"),
    [
        (lambda user: user_set_password(user=user, password="another one"), Action.PASSWORD_CHANGE),
        (lambda user: user_reset_password(user=user), Action.PASSWORD_RESET),
        (lambda user: user_end_sessions(user=user), Action.SESSION_END),
        (lambda user: second_factors_remove(user=user), Action.MFA_REMOVE),
    ],
)
def test_change_of_an_account_is_kept_and_not_made_without(act, action, audit_refused):
    user = make_member(hospital := make_hospital(), "staff")
    before = User.objects.filter(pk=user.pk).values().get()
    with audit_refused(), pytest.raises(AuditUnavailable):
        act(User.objects.get(pk=user.pk))
    assert User.objects.filter(pk=user.pk).values().get() == before
    act(user)
    with every_hospital("a test"):
        kept = AuditEvent.objects.filter(hospital_id=hospital.pk, action=action)
        assert [event.subject_id for event in kept] == [str(user.pk)]


def test_commands_that_change_records_act_under_their_own_name():
    """A new command says that it acts, or stands here as one that changes no record."""
    changing_nothing = {
        "verify_audit", "prepare_demo", "run_demo", "serve", "doctor", "models", "grade_folder",
    }  # fmt: skip
    ours = ("accounts", "workspace", "inference", "drservice")
    silent = {
        name
        for name, app in get_commands().items()
        if isinstance(app, str)
        and app.startswith(ours)
        and not isinstance(load_command_class(app, name), ActingCommand)
    }
    assert silent <= changing_nothing
    assert not changing_nothing - silent
