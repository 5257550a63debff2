"""The mail that brings an invitation: plain text, and nothing in it about any patient.

No request waits for a mail server. An invitation is its own outbox: what is due says so in its
document, in the transaction that made it. A single mail goes out beside the answer, as notices do;
a list is for the workers. The hint to them holds nothing and may be lost; a sweep every minute
finds what is due. Whoever takes one makes the token that it mails, so that no token rests
anywhere; of a mail that was sent twice the newer link works.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from kombu.exceptions import OperationalError

from accounts.keys.sealing import UNREADABLE
from accounts.models import Invitation
from accounts.people.selectors import hash_of, inviter_of
from accounts.people.services import Issued, token_new
from accounts.scoping import hospital_scope
from drservice.celery import app
from drservice.settings.celery import HINT_PRIORITY, INFERENCE_QUEUE

log = logging.getLogger(__name__)

MAIL_INVITATIONS = "accounts.mail_invitations"
HINT_GOOD_FOR_S = 60
# One thread: a single mail needs no more, and whoever comes at once finds the other's claims.
_post = ThreadPoolExecutor(max_workers=1, thread_name_prefix="invitations")
# Then the worker's thread is free for cases, and a new hint goes on with the rest.
MAILS_AT_ONCE = 50
# A mail that failed waits a minute before the next try, then twice as long each time; it is tried
# for as long as its link would be good. The first wait is longer than a mail server may take.
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(minutes=32)

NO_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
# The server refused this one mail; the next one may well pass.
ONE_MAIL_REFUSED = (SMTPRecipientsRefused, SMTPSenderRefused, SMTPDataError)
# From here on a server's answer means never; below it means not now.
FINAL = 500


def mails_start(count: int) -> None:
    """Have so many new mails sent: one beside the answer, several by workers who can be told."""
    if count > 1 and mails_hint():
        return
    if settings.MAIL_IN_BACKGROUND:
        _post.submit(_send_beside)
    else:
        due_mails_send()


def mails_hint() -> bool:
    """Tell the workers that mails are due. Where no hint gets through, the sweep finds them."""
    options = {"queue": INFERENCE_QUEUE, "priority": HINT_PRIORITY, "expires": HINT_GOOD_FOR_S}
    try:
        app.send_task(MAIL_INVITATIONS, **options)
    except OperationalError as error:
        log.warning("mail_hint_not_sent error=%s", type(error).__name__)
        return False
    return True


def due_mails_send() -> int:
    """Mail what is due, over one connection; return how many the mail server took.

    Safe to run anywhere, any number of times at once. A machine that isn't told of the mail server
    leaves everything to those that are. While the server is away nothing is taken or lost.
    """
    if not settings.MAIL_REACHES_PEOPLE:
        return 0
    due = list(Invitation.objects.mail_due(timezone.now())[:MAILS_AT_ONCE])
    if not due:
        return 0
    sent = _send_over_one_connection(due)
    if len(due) == MAILS_AT_ONCE and sent:
        mails_hint()
    return sent


def mail_write(*, issued: Issued, origin: str) -> None:
    """Write a mail that reaches nobody: into a file or onto the console, as EMAIL_URL says."""
    if settings.EMAIL_BACKEND == NO_BACKEND:
        return
    invitation = issued.invitation
    try:
        _message(invitation, origin, issued.token).send()
    except OSError as error:
        log.warning("invitation_mail_failed error=%s", type(error).__name__)
    else:
        Invitation.objects.filter(pk=invitation.pk).update(mailed_at=timezone.now())


def link_of(origin: str, token: str) -> str:
    return origin + reverse("accounts:invitation-link", args=[token])


def _send_beside() -> None:
    try:
        due_mails_send()
    except Exception as error:  # noqa: BLE001
        # The sweep goes on from where this broke off.
        log.error("invitation_mail_put_off error=%s", type(error).__name__)
    finally:
        connection.close()


def _send_over_one_connection(due: list[Invitation]) -> int:
    sent = 0
    server = get_connection()
    try:
        server.open()
        for invitation in due:
            sent += _send_if_free(server, invitation)
    except OSError as error:
        log.warning("invitation_mail_failed error=%s", type(error).__name__)
    finally:
        server.close()
    return sent


def _send_if_free(server: BaseEmailBackend, invitation: Invitation) -> bool:
    """Take one due mail, if nobody else has, and send it; tell whether the server took it.

    Raises OSError when the server fails; the mail is then due again after its pause.
    """
    token, now = token_new(), timezone.now()
    claim = {"pk": invitation.pk, "token_hash": hash_of(token)}
    until = now + _pause(invitation.mail_tries)
    if not Invitation.objects.claim_mail(
        seen=invitation, token_hash=claim["token_hash"], until=until
    ):
        return False
    with hospital_scope(invitation.hospital_id):
        if invitation.email == UNREADABLE:
            Invitation.objects.end_mail(**claim)
            return False
        message = _message(invitation, invitation.link_origin, token)
    return _delivered(server, message, claim, now)


def _delivered(server: BaseEmailBackend, message: EmailMessage, claim: dict, now: datetime) -> bool:
    try:
        taken = server.send_messages([message]) == 1
    except ONE_MAIL_REFUSED as error:
        final = _is_final(error)
        log.warning("invitation_mail_refused error=%s final=%s", type(error).__name__, final)
        if final:
            Invitation.objects.end_mail(**claim)
        return False
    if taken:
        Invitation.objects.end_mail(**claim, mailed_at=now)
    return taken


def _pause(tries: int) -> timedelta:
    return min(FIRST_PAUSE * 2 ** min(tries, 10), LONGEST_PAUSE)


def _is_final(error: SMTPRecipientsRefused | SMTPSenderRefused | SMTPDataError) -> bool:
    if isinstance(error, SMTPRecipientsRefused):
        return all(code >= FINAL for code, _ in error.recipients.values())
    return error.smtp_code >= FINAL


def _message(invitation: Invitation, origin: str, token: str) -> EmailMessage:
    hospital = invitation.hospital
    context = {
        "hospital": hospital,
        "invitation": invitation,
        "inviter": inviter_of(invitation),
        "link": link_of(origin, token),
    }
    text = render_to_string("accounts/mail/invitation.txt", context)
    subject = " ".join(f"Invitation to {hospital.name}".split())
    return EmailMessage(subject, text, to=[invitation.email])
