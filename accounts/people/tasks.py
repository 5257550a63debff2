"""The people's tasks: bodies of a line, all logic in services."""

from accounts.people.mail import MAIL_INVITATIONS, due_mails_send
from accounts.people.sweeping import invitations_sweep
from drservice.common.tasks import grading_task


@grading_task(MAIL_INVITATIONS)
def mail_invitations() -> None:
    """Mail what is due. Pre-state: any. Post-state: each is mailed, put off, or given up."""
    due_mails_send()


@grading_task("accounts.sweep_invitations")
def sweep_invitations() -> None:
    """Delete old invitations. Pre-state: any. Post-state: none has been over for too long."""
    invitations_sweep()
