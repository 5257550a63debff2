"""Whom a hospital invites rests sealed, and is deleted some weeks after the invitation is over."""

import datetime as dt

import pytest
from bson import ObjectId
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import IntegrityError
from django.test import Client
from django.utils import timezone

from accounts import key_services
from accounts.audit.models import AuditEvent
from accounts.audit.selectors import events_told
from accounts.key_services import hospital_key_destroy, hospital_key_rotate, hospital_reseal
from accounts.keys.key_ring import forget_keys
from accounts.keys.sealing import UNREADABLE, sealed_with
from accounts.models import Invitation, InvitationState, User, invited_hash
from accounts.people import sweeping
from accounts.people.selectors import invitation_list, invitation_pending
from accounts.people.services import invitation_create, invitation_send_again, invitation_withdraw
from accounts.people.sweeping import invitations_sweep
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital, make_invitation, make_user, token_of
from drservice.testing.dumps import raw_database
from drservice.testing.pages import searched

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/accounts/people/invitations/"
NAME, EMAIL = "Wilhelmina Ångström", "mina.angstroem@post.example"
WORDS = ("Wilhelmina", "Ångström", "mina.angstroem", "post.example")
PLAIN = [("accounts", "0005_invitations_by_hand")]


def stored(invitation: Invitation) -> dict:
    return connection.database.accounts_invitation.find_one({"_id": invitation.pk})


def names_found() -> list[tuple[str, str]]:
    return [
        (collection, word)
        for collection, dump in raw_database().items()
        for word in WORDS
        for spelt in {word, word.lower(), word.casefold(), word.upper()}
        if spelt.encode() in dump
    ]


def test_database_names_nobody_who_is_invited(two_hospitals, client_of, settings):
    admin, fields = client_of(two_hospitals.a.admin), {"name": NAME, "roles": ["staff"]}
    for reaches, address in ((True, f"{LIST}new/"), (False, "/accounts/people/add/")):
        settings.MAIL_REACHES_PEOPLE = reaches
        assert admin.post(address, {**fields, "email": EMAIL}).status_code == 200
        assert names_found() == []
        for words in ("wilhel", "ANGSTROEM@post"):
            assert EMAIL in searched(admin, LIST, words).text
        [invitation] = Invitation.objects.pending()
        assert admin.post(f"{LIST}{invitation.pk}/resend/").status_code == 200
        assert EMAIL in admin.get(LIST).text
        admin.post(f"{LIST}{invitation.pk}/withdraw/")
        assert EMAIL in admin.get(LIST, {"state": "withdrawn"}).text
    assert names_found() == []


def test_scan_would_see_a_name_that_is_not_sealed():
    invitation = make_invitation(make_hospital(), name=NAME)
    where = {"_id": invitation.pk}
    connection.database.accounts_invitation.update_one(where, {"$set": {"forgotten": NAME}})
    assert ("accounts_invitation", "Wilhelmina") in names_found()


def test_address_is_compared_by_a_hash_that_no_other_hospital_has():
    hospital, other = make_hospital(), make_hospital()
    first = make_invitation(hospital, email=EMAIL)
    make_invitation(other, email=EMAIL)
    assert invitation_pending(hospital, f" {EMAIL.upper()} ").pk == first.pk
    hashes = {stored(one)["email_hash"] for one in Invitation.objects.all()}
    assert len(hashes) == 2
    with pytest.raises(IntegrityError):
        Invitation.objects.create(
            hospital=hospital,
            email=EMAIL,
            email_hash=invited_hash(EMAIL, hospital.pk),
            name="Again",
            roles=["staff"],
            token_hash="another",
            invited_by=first.invited_by,
            expires_at=first.expires_at,
        )


def test_who_works_elsewhere_opens_the_invitation_of_another_hospital(two_hospitals, client_of):
    invitation = make_invitation(two_hospitals.a.hospital, email=two_hospitals.b.staff.email)
    at_work = client_of(two_hospitals.b.staff)
    token = token_of(invitation.email, two_hospitals.a.hospital)
    page = at_work.get(f"/accounts/invitation/{token}/", follow=True)
    assert "you are invited" in page.text
    assert two_hospitals.b.staff.email in page.text


def test_rotated_key_seals_invitations_anew(monkeypatch):
    monkeypatch.setattr(key_services, "SETTLED_AFTER_S", 0.0)
    hospital, other = make_hospital(), make_hospital()
    mine, theirs = make_invitation(hospital, email=EMAIL, name=NAME), make_invitation(other)
    hospital_key_rotate(hospital=hospital)
    assert hospital_reseal(hospital=hospital) == 1
    assert {sealed_with(stored(mine)[name])[1] for name in ("email", "name")} == {2}
    assert sealed_with(stored(theirs)["email"])[1] == 1
    [found] = invitation_list(hospital, state="pending", search="mina", start=0, count=9)
    assert (found.email, found.name) == (EMAIL, NAME)
    assert invitation_pending(hospital, EMAIL).pk == mine.pk


def test_destroyed_key_ends_what_was_offered_and_offers_nothing_new(two_hospitals, client_of):
    hospital, admin = two_hospitals.a.hospital, client_of(two_hospitals.a.admin)
    invitation = make_invitation(hospital, email="mina@post.example", name=NAME)
    token = token_of(invitation.email, hospital)
    hospital_key_destroy(hospital=hospital, reason="")
    assert UNREADABLE in admin.get(LIST).text
    assert NAME not in admin.get(LIST).text

    client = Client()
    assert "is closed" in client.get(f"/accounts/invitation/{token}/", follow=True).text
    own = "three words together"
    fields = {"name": "Mina", "new_password1": own, "new_password2": own}
    assert client.post("/accounts/invitation/", fields).status_code == 400
    assert not User.objects.filter(name="Mina").exists()

    anew = {"name": "New", "email": "new@post.example", "roles": ["staff"]}
    for address in (f"{LIST}new/", "/accounts/people/add/"):
        refused = admin.post(address, anew)
        assert refused.status_code == 422
        assert "has been destroyed" in refused.text
    again = admin.post(f"{LIST}{invitation.pk}/resend/", follow=True)
    assert "has been destroyed" in again.text
    assert "is withdrawn" in admin.post(f"{LIST}{invitation.pk}/withdraw/", follow=True).text


@pytest.fixture
def migrate():
    """Return a function that moves the database to a state; at the end it is the newest."""
    yield lambda targets: MigrationExecutor(connection).migrate(targets)
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def old_invitation(hospital_id: ObjectId, by: ObjectId, number: int, **fields) -> dict:
    day = dt.datetime(2026, 1, 1)  # noqa: DTZ001
    return {
        "_id": ObjectId(),
        "hospital_id": hospital_id,
        "email": f"mina.angstroem{number}@post.example",
        "name": f"{NAME} {number}",
        "roles": ["staff"],
        "state": "pending",
        "token_hash": f"token {number}",
        "by_hand": False,
        "invited_by_id": by,
        "accepted_by_id": None,
        "created_at": day,
        "mailed_at": None,
        "expires_at": day,
        "ended_at": None,
        **fields,
    }


def test_invitations_of_before_are_sealed_and_plain_again_on_the_way_back(migrate):
    a, b, gone = make_hospital(), make_hospital(), make_hospital()
    hospital_key_destroy(hospital=gone, reason="")
    by = make_user().pk
    migrate(PLAIN)
    kept = [old_invitation(one.pk, by, number) for number, one in enumerate((a, a, b))]
    kept.append(old_invitation(a.pk, by, 4, state="withdrawn", email=kept[0]["email"]))
    collection = connection.database.accounts_invitation
    collection.insert_many([*kept, old_invitation(gone.pk, by, 5)])

    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    migrate(newest)
    assert names_found() == []
    assert collection.count_documents({"hospital_id": gone.pk}) == 0
    assert invitation_pending(a, kept[0]["email"]).pk == kept[0]["_id"]
    assert invitation_pending(b, kept[2]["email"]).name == kept[2]["name"]
    # One that broke off: what is sealed already stays, the rest follows.
    sealed = list(collection.find())
    migrate(PLAIN)
    assert list(collection.find().sort("_id", 1)) == kept
    del sealed[0]["email_hash"]
    collection.replace_one({"_id": sealed[0]["_id"]}, sealed[0])
    forget_keys()
    migrate(newest)
    assert names_found() == []
    assert {one.email for one in Invitation.objects.all()} == {one["email"] for one in kept}


def over(hospital, state: str, days: float) -> Invitation:
    """Make an invitation that has been over for so many days, or is not over yet."""
    at = timezone.now() - dt.timedelta(days=days)
    ended = {"expires_at": at} if state == "pending" else {"expires_at": at, "ended_at": at}
    return make_invitation(hospital, state=InvitationState(state), **ended)


def test_sweep_deletes_what_has_been_over_for_long_and_nothing_else(settings):
    settings.INVITATION_KEEP_DAYS = 30
    a, b = make_hospital("A"), make_hospital("B")
    stays = [over(a, state, days) for state in InvitationState for days in (-1, 29.9)]
    gone = [over(a, state, 30.1) for state in InvitationState]
    theirs = over(b, "accepted", 40)
    tried = {one.hospital.name: (one.due, one.deleted) for one in invitations_sweep(dry_run=True)}
    assert tried == {"A": (3, 0), "B": (1, 0)}
    assert Invitation.objects.count() == len([*stays, *gone, theirs])

    invitations_sweep()
    assert {one.pk for one in Invitation.objects.all()} == {one.pk for one in stays}
    assert {(one.due, one.deleted) for one in invitations_sweep()} == {(0, 0)}
    with hospital_scope(a.pk):
        [event] = AuditEvent.objects.filter(action="delete", subject_kind="invitation")
        [told] = events_told([event], hospital_id=a.pk)
    assert (event.actor_kind, told.after["deleted"]) == ("service", 3)


def test_trail_keeps_who_was_invited_after_the_sweep(settings):
    hospital, by = make_hospital(), make_user()
    fields = {"email": EMAIL, "name": NAME, "roles": ["staff"], "by": by}
    invitation = invitation_create(hospital=hospital, **fields).invitation
    invitation_withdraw(invitation=invitation)
    ago = timezone.now() - dt.timedelta(days=settings.INVITATION_KEEP_DAYS + 1)
    Invitation.objects.update(ended_at=ago)
    assert invitations_sweep()[0].deleted == 1
    with hospital_scope(hospital.pk):
        events = AuditEvent.objects.filter(subject_id=str(invitation.pk)).order_by("seq")
        told = events_told(list(events), hospital_id=hospital.pk)
    assert [one.event.action for one in told] == ["invite", "cancel"]
    assert told[0].after["email"] == EMAIL


def test_what_is_sent_again_meanwhile_stays(monkeypatch, settings):
    """Between counting and deleting somebody gives an expired invitation a new term."""
    hospital = make_hospital()
    invitation = over(hospital, "pending", settings.INVITATION_KEEP_DAYS + 1)
    delete = sweeping._delete

    def send_again_first(*args):
        invitation_send_again(invitation=invitation)
        return delete(*args)

    monkeypatch.setattr(sweeping, "_delete", send_again_first)
    [swept] = invitations_sweep()
    assert (swept.due, swept.deleted) == (1, 0)
    assert Invitation.objects.filter(pk=invitation.pk).exists()


def test_command_sweeps(capsys, settings):
    over(make_hospital("Lake Clinic"), "withdrawn", settings.INVITATION_KEEP_DAYS + 1)
    call_command("invitation_sweep", "--dry-run")
    assert capsys.readouterr().out == "Lake Clinic: 1 would be deleted\n"
    call_command("invitation_sweep")
    assert capsys.readouterr().out == "Lake Clinic: 1 deleted\n"
    assert not Invitation.objects.exists()
