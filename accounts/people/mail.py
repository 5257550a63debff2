"""The mail that brings an invitation: plain text, and nothing in it about any patient."""

import logging
from collections.abc import Callable
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPSenderRefused

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import Hospital
from accounts.people.services import Issued, invitations_mailed

log = logging.getLogger(__name__)

# The server refused this one mail; the next one may well pass.
ONE_MAIL_REFUSED = (SMTPRecipientsRefused, SMTPSenderRefused, SMTPDataError)
NO_BACKEND = "django.core.mail.backends.dummy.EmailBackend"


def invitations_mail(
    *, issued: list[Issued], hospital: Hospital, inviter: str, link_of: Callable[[str], str]
) -> list[Issued]:
    """Mail invitations over one connection; return those that the mail server didn't take.

    A mail that fails takes nothing back: the invitation stands and can be sent again.
    """
    if not issued or settings.EMAIL_BACKEND == NO_BACKEND:
        return issued
    messages = [_message(one, hospital, inviter, link_of(one.token)) for one in issued]
    taken = _send(messages)
    mailed = [one.invitation for one, took in zip(issued, taken, strict=True) if took]
    invitations_mailed(invitations=mailed, at=timezone.now())
    return [one for one, took in zip(issued, taken, strict=True) if not took]


def _message(issued: Issued, hospital: Hospital, inviter: str, link: str) -> EmailMessage:
    context = {
        "hospital": hospital,
        "invitation": issued.invitation,
        "inviter": inviter,
        "link": link,
    }
    text = render_to_string("accounts/mail/invitation.txt", context)
    subject = " ".join(f"Invitation to {hospital.name}".split())
    return EmailMessage(subject, text, to=[issued.invitation.email])


def _send(messages: list[EmailMessage]) -> list[bool]:
    """Return for each mail whether it was taken; gives up when the server itself fails."""
    taken: list[bool] = []
    connection = get_connection()
    try:
        connection.open()
        for message in messages:
            taken.append(_send_one(connection, message))
    except OSError as error:
        log.warning("invitation_mail_failed error=%s", type(error).__name__)
    finally:
        connection.close()
    return taken + [False] * (len(messages) - len(taken))


def _send_one(connection, message: EmailMessage) -> bool:
    try:
        return connection.send_messages([message]) == 1
    except ONE_MAIL_REFUSED as error:
        log.warning("invitation_mail_refused error=%s", type(error).__name__)
        return False
