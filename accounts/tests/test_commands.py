"""What platform operators do from the command line."""

import re

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.audit.models import AuditEvent
from accounts.keys.key_ring import forget_keys
from accounts.keys.sealing import seal, unseal
from accounts.models import Hospital, User
from accounts.scoping import every_hospital
from accounts.selectors import memberships_of
from accounts.tests.factories import make_hospital, make_user


def run(capsys, *words: str) -> str:
    call_command(*words)
    return capsys.readouterr().out


@pytest.mark.django_db
def test_hospital_is_made_with_an_admin_who_can_sign_in(capsys, client):
    words = ["hospital_create", "Lake Clinic", "--admin-email", "Ada@lake.example"]
    out = run(capsys, *words, "--admin-name", "Ada Lake")
    password = re.search(r"First password: (\S+)", out)[1]
    answer = client.post("/accounts/sign-in/", {"email": "ada@lake.example", "password": password})
    assert answer.status_code == 302
    [membership] = memberships_of(User.objects.get(email="ada@lake.example"))
    assert membership.hospital.name == "Lake Clinic"
    assert membership.roles == ["hospital_admin"]

    with pytest.raises(CommandError, match="already exists"):
        run(capsys, *words, "--admin-name", "Ada Lake")


@pytest.mark.django_db
def test_hospital_with_a_bad_admin_is_not_made(capsys):
    words = ["hospital_create", "Lake Clinic", "--admin-email", "nothing", "--admin-name", "Ada"]
    with pytest.raises(CommandError, match="valid email"):
        run(capsys, *words)
    assert not Hospital.objects.exists()


@pytest.mark.django_db
def test_hospital_closes_and_opens_again(capsys):
    hospital = make_hospital("Lake Clinic")
    assert run(capsys, "hospital_close", "Lake Clinic") == "Lake Clinic is closed.\n"
    hospital.refresh_from_db()
    assert not hospital.is_active
    assert (
        run(capsys, "hospital_close", "Lake Clinic", "--reopen") == "Lake Clinic is open again.\n"
    )
    hospital.refresh_from_db()
    assert hospital.is_active
    with pytest.raises(CommandError, match=r"no hospital with this name. There are: Lake Clinic"):
        run(capsys, "hospital_close", "Lake")


@pytest.mark.django_db
def test_forgotten_password_is_reset_and_must_be_changed(capsys, client):
    user = make_user(email="ada@lake.example")
    password = re.search(
        r"signs in with: (\S+)", run(capsys, "password_reset", "ADA@lake.example")
    )[1]
    fields = {"email": user.email, "password": password}
    assert client.post("/accounts/sign-in/", fields, follow=True).redirect_chain[-1][0] == (
        "/accounts/password/"
    )
    with pytest.raises(CommandError, match="Nobody has an account"):
        run(capsys, "password_reset", "nobody@lake.example")


@pytest.mark.django_db
def test_operator_is_made_by_djangos_own_command(monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a long password 1")
    call_command("createsuperuser", "--noinput", "--email", "op@lake.example", "--name", "Op")
    operator = User.objects.get(email="op@lake.example")
    assert operator.is_operator
    assert operator.check_password("a long password 1")


@pytest.mark.django_db
def test_master_key_is_rotated_or_the_missing_one_named(capsys, settings):
    hospital = make_hospital("Lake Clinic")
    sealed = seal("a name", hospital_id=hospital.pk)
    old, new = settings.MASTER_KEYS[0], "another-master-key-0123456789-abcdefghijklmnop"
    settings.MASTER_KEYS = [new]
    forget_keys()
    with pytest.raises(CommandError, match="Add that one to MASTER_KEY"):
        run(capsys, "rotate_master_key")

    settings.MASTER_KEYS = [new, old]
    out = run(capsys, "rotate_master_key")
    # The hospital's, and the platform's, which the audit trail began with.
    assert "locked by an older master key" in out
    assert "Remove the older ones" in out
    settings.MASTER_KEYS = [new]
    forget_keys()
    assert unseal(sealed) == "a name"
    [event] = key_rotations()
    assert (event.hospital_id, event.subject_kind) == (None, "master_key")
    assert "0 keys were locked by an older" in run(capsys, "rotate_master_key")
    assert key_rotations() == [event]


def key_rotations() -> list[AuditEvent]:
    with every_hospital("a test"):
        return list(AuditEvent.objects.filter(action="key_rotate"))


@pytest.mark.django_db
def test_operator_is_added_with_a_password_that_must_change_and_is_on_the_trail(capsys):
    out = run(capsys, "operator_add", "Bo@ops.example", "--name", "Bo Ops")
    operator = User.objects.get(email="bo@ops.example")
    assert (operator.is_operator, operator.must_change_password) == (True, True)
    assert operator.check_password(re.search(r"First password: (\S+)", out)[1])
    with every_hospital("a test"):
        [event] = AuditEvent.objects.filter(subject_id=str(operator.pk))
    assert (event.action, event.actor_kind, event.hospital_id) == ("create", "command", None)

    nurse = make_user(email="nurse@lake.example")
    with pytest.raises(CommandError, match="an account of their own"):
        run(capsys, "operator_add", nurse.email, "--name", "Nurse")
