"""Invitations are mailed by workers: no request waits for a mail server, and none gets lost."""

import os
import re
import subprocess
import sys
import threading
from datetime import timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPServerDisconnected

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client
from django.utils import timezone
from kombu.exceptions import OperationalError

from accounts.key_services import hospital_key_destroy
from accounts.models import Invitation, Membership
from accounts.people import mail as invitation_mail
from accounts.people.mail import MAIL_INVITATIONS, MAILS_AT_ONCE, due_mails_send
from accounts.people.services import invitation_create, invitation_send_again, invitation_withdraw
from accounts.permissions import Role
from accounts.tests.factories import make_hospital, make_membership, make_user
from accounts.tests.test_people import at_once
from accounts.tests.test_roster import HEADING, confirm, upload
from drservice.celery import app

LIST = "/accounts/people/invitations/"
IMPORT = "/accounts/people/import/"
ORIGIN = "https://clinic.example"


@pytest.fixture(autouse=True)
def mail_server(settings):
    """Mail goes somewhere: into `mail.outbox`."""
    settings.MAIL_REACHES_PEOPLE = True


@pytest.fixture
def hints(monkeypatch) -> list[tuple]:
    """What is sent to the workers' queue."""
    sent = []
    monkeypatch.setattr(app, "send_task", lambda *args, **options: sent.append((args, options)))
    return sent


class Server(EmailBackend):
    """A mail server that answers each mail to an address of `answers` with that error."""

    answers: dict = {}  # noqa: RUF012
    is_away = False

    def open(self) -> bool:
        if self.is_away:
            raise ConnectionRefusedError
        return True

    def send_messages(self, messages) -> int:
        error = self.answers.get(messages[0].to[0])
        if error is not None:
            raise error
        return super().send_messages(messages)


@pytest.fixture
def server(monkeypatch, settings) -> type[Server]:
    monkeypatch.setattr(Server, "answers", {})
    monkeypatch.setattr(Server, "is_away", False)
    settings.EMAIL_BACKEND = f"{__name__}.Server"
    return Server


def make_due(count: int = 1) -> list[Invitation]:
    """Make invitations that wait to be mailed, the first one first."""
    hospital, by = make_hospital(), make_user(name="Ada Admin")
    return [
        invitation_create(
            hospital=hospital,
            email=f"due{number}@lake.example",
            name=f"Due {number}",
            roles=["staff"],
            by=by,
            mail_from=ORIGIN,
        ).invitation
        for number in range(count)
    ]


def later(**pause) -> None:
    """Let time pass: what was put off by less than the pause is due."""
    for invitation in Invitation.objects.exclude(mail_due_at=None):
        due_at = invitation.mail_due_at - timedelta(**pause)
        Invitation.objects.filter(pk=invitation.pk).update(mail_due_at=due_at)


def link_in(text: str) -> str:
    return re.search(rf"{ORIGIN}(/accounts/invitation/[\w-]+/)", text)[1]


def sent_to() -> list[str]:
    return [one.to[0] for one in mail.outbox]


def test_import_mails_nobody_within_the_request(two_hospitals, client_of, hints):
    admin = client_of(two_hospitals.a.admin)
    lines = [f"Person {n},p{n}@lake.example,staff\n" for n in range(MAILS_AT_ONCE + 2)]
    report = confirm(admin, upload(admin, HEADING + "".join(lines)))
    assert mail.outbox == []
    assert f"0 sent, <strong>{len(lines)} waiting to be sent" in report.text
    # One hint for all of them, and nothing in it about anybody.
    [(args, options)] = hints
    assert args == (MAIL_INVITATIONS,)
    assert not {"args", "kwargs"} & set(options)
    assert "Mail waits to be sent" in admin.get(LIST).text

    # A worker sends some, and then lets cases come first.
    assert due_mails_send() == MAILS_AT_ONCE
    assert len(hints) == 2
    assert f"{MAILS_AT_ONCE} sent, <strong>2 waiting" in admin.get(IMPORT).text
    assert due_mails_send() == 2
    assert due_mails_send() == 0
    assert len(hints) == 2
    assert len(set(sent_to())) == len(mail.outbox) == len(lines)
    # What waits at another hospital is nothing to this one.
    make_due()
    page = admin.get(LIST).text
    assert f"{len(lines)} sent." in page
    # The page asks again only while something waits.
    assert "every 5s" in report.text
    assert "every 5s" not in page


@pytest.mark.django_db
def test_mail_says_who_invites_and_leads_to_where_they_were_invited_from(hints, client):
    [invitation] = make_due()
    # Another hospital may call the inviter by another name.
    elsewhere = make_membership(invitation.invited_by, make_hospital(), Role.HOSPITAL_ADMIN)
    Membership.objects.filter(pk=elsewhere.pk).update(name="Ada Elsewhere")
    assert due_mails_send() == 1
    [message] = mail.outbox
    assert message.to == [invitation.email]
    assert "Ada Admin invites you" in message.body
    assert "you are invited" in client.get(link_in(message.body), follow=True).text.lower()
    [kept] = Invitation.objects.all()
    assert (kept.mail_due_at, kept.mail_tries) == (None, 1)
    assert kept.mailed_at is not None


def test_single_mail_needs_no_worker_and_keeps_nobody_waiting(
    two_hospitals, client_of, settings, hints
):
    settings.MAIL_IN_BACKGROUND = True
    # One that waits elsewhere goes along.
    make_due()
    released = threading.Event()
    invitation_mail._post.submit(released.wait, 60)
    admin = client_of(two_hospitals.a.admin)
    fields = {"name": "Ana", "email": "ana@lake.example", "roles": ["staff"]}
    assert "on its way" in admin.post(f"{LIST}new/", fields).text
    assert mail.outbox == []
    assert "Mail waits to be sent" in admin.get(LIST).text
    released.set()
    invitation_mail._post.submit(int).result(timeout=60)
    assert sorted(sent_to()) == ["ana@lake.example", "due0@lake.example"]
    assert "1 sent." in admin.get(LIST).text
    assert hints == []


def test_broker_that_is_away_loses_nothing(two_hospitals, client_of, monkeypatch, caplog, server):
    def refuse(*args, **options):
        raise OperationalError

    monkeypatch.setattr(app, "send_task", refuse)
    server.is_away = True
    admin = client_of(two_hospitals.a.admin)
    people = f"{HEADING}Ana,ana@lake.example,staff\nBen,ben@lake.example,staff\n"
    report = confirm(admin, upload(admin, people))
    assert "2 waiting to be sent" in report.text
    assert "mail_hint_not_sent" in caplog.text
    server.is_away = False
    # What the sweep does, every minute.
    assert due_mails_send() == 2
    assert sorted(sent_to()) == ["ana@lake.example", "ben@lake.example"]


@pytest.mark.django_db
def test_mail_server_that_is_away_loses_nothing(server, hints, caplog):
    make_due(3)
    server.is_away = True
    assert due_mails_send() == 0
    assert {one.mail_tries for one in Invitation.objects.all()} == {0}
    assert "lake.example" not in caplog.text

    server.is_away = False
    server.answers["due1@lake.example"] = SMTPServerDisconnected("gone")
    assert due_mails_send() == 1
    server.answers.clear()
    # The one that was under way waits, the rest is due as before.
    assert due_mails_send() == 1
    assert sent_to() == ["due0@lake.example", "due2@lake.example"]
    later(minutes=1)
    assert due_mails_send() == 1
    assert sent_to()[-1] == "due1@lake.example"
    assert hints == []


@pytest.mark.django_db
def test_refusal_for_now_is_tried_again_after_longer_and_longer(server, hints):
    [invitation] = make_due()
    busy = {invitation.email: (450, b"busy")}
    server.answers[invitation.email] = SMTPRecipientsRefused(busy)
    waits = []
    for _ in range(8):
        began = timezone.now()
        assert due_mails_send() == 0
        invitation.refresh_from_db()
        waits.append(round((invitation.mail_due_at - began).total_seconds() / 60))
        assert due_mails_send() == 0
        later(minutes=waits[-1], seconds=5)
    assert waits == [1, 2, 4, 8, 16, 32, 32, 32]
    server.answers.clear()
    assert due_mails_send() == 1


def test_refusal_for_good_is_shown_and_can_be_sent_again(two_hospitals, client_of, server, hints):
    admin = client_of(two_hospitals.a.admin)
    nobody = {"ana@lake.example": (550, b"no such user")}
    server.answers["ana@lake.example"] = SMTPRecipientsRefused(nobody)
    server.answers["ben@lake.example"] = SMTPDataError(554, b"no")
    for name in ("ana", "ben"):
        fields = {"name": name, "email": f"{name}@lake.example", "roles": ["staff"]}
        assert admin.post(f"{LIST}new/", fields).status_code == 200
    later(days=1)
    server.answers.clear()
    assert due_mails_send() == 0
    page = admin.get(LIST).text
    assert page.count("Not mailed") == 2
    assert "2 refused by the mail server" in page
    assert "every 5s" not in page

    [ana] = [one for one in Invitation.objects.all() if one.name == "ana"]
    assert admin.post(f"{LIST}{ana.pk}/resend/").status_code == 200
    assert sent_to() == ["ana@lake.example"]


@pytest.mark.django_db
def test_worker_lost_after_sending_leaves_the_newer_link_working(monkeypatch, hints):
    make_due()
    with monkeypatch.context() as patch:
        patch.setattr(type(Invitation.objects.all()), "end_mail", _die)
        with pytest.raises(KeyboardInterrupt):
            due_mails_send()
    assert len(mail.outbox) == 1
    assert due_mails_send() == 0
    later(minutes=1)
    assert due_mails_send() == 1
    first, second = (link_in(one.body) for one in mail.outbox)
    assert "doesn't work" in Client().get(first).text
    assert Client().get(second).status_code == 302


def _die(*args, **kwargs) -> bool:
    raise KeyboardInterrupt


@pytest.mark.django_db(transaction=True)
def test_workers_that_look_at_once_send_each_mail_once(hints):
    make_due(12)
    assert sum(at_once([due_mails_send] * 4)) == 12
    assert len(set(sent_to())) == len(mail.outbox) == 12


@pytest.mark.django_db
def test_what_is_over_or_names_nobody_any_more_is_not_mailed(hints):
    withdrawn, expired = make_due(2)
    invitation_withdraw(invitation=withdrawn)
    Invitation.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
    [unreadable] = make_due()
    hospital_key_destroy(hospital=unreadable.hospital, reason="")
    assert due_mails_send() == 0
    assert mail.outbox == []
    unreadable.refresh_from_db()
    assert unreadable.mail_due_at is None


@pytest.mark.django_db
def test_what_is_sent_again_meanwhile_is_mailed_with_the_newest_link(monkeypatch, hints):
    [invitation] = make_due()
    pause = invitation_mail._pause

    def send_again_first(tries: int):
        invitation_send_again(invitation=invitation, mail_from=ORIGIN)
        return pause(tries)

    with monkeypatch.context() as patch:
        patch.setattr(invitation_mail, "_pause", send_again_first)
        assert due_mails_send() == 0
    assert due_mails_send() == 1
    assert Client().get(link_in(mail.outbox[0].body)).status_code == 302


@pytest.mark.django_db
def test_machine_without_a_mail_server_leaves_mails_to_others(settings, hints):
    make_due()
    settings.MAIL_REACHES_PEOPLE = False
    assert due_mails_send() == 0
    settings.MAIL_REACHES_PEOPLE = True
    assert due_mails_send() == 1


def test_workers_know_what_beat_tells_them_to_do(settings):
    """In a process of its own: a worker's start finishes the application of Celery."""
    ask = (
        "import django; django.setup(); from drservice.celery import app; "
        "import accounts.people.tasks; print(*app.tasks)"
    )
    known = subprocess.run(
        [sys.executable, "-c", ask],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "drservice.settings.test"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    beat = settings.CELERY_BEAT_SCHEDULE
    for name in ("mail-invitations", "sweep-invitations"):
        assert beat[name]["task"] in known
    assert beat["mail-invitations"]["task"] == MAIL_INVITATIONS
    assert beat["mail-invitations"]["schedule"] <= 60
    assert "accounts.people.tasks" in settings.CELERY_IMPORTS
