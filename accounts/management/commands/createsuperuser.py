"""Django's own command, whose operators are made under its name in the audit trail."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.management.commands import createsuperuser
from django.db.models.signals import post_save

from accounts.audit.accounts import account_record
from accounts.audit.actions import Action
from accounts.audit.commands import ActingCommand
from accounts.audit.errors import AuditUnavailable
from accounts.models import User


class Command(ActingCommand, createsuperuser.Command):
    help = "Make a platform operator: runs the service, belongs to no hospital, sees no patient."

    def handle(self, *args, **options) -> None:
        with _new_people_recorded():
            super().handle(*args, **options)


@contextmanager
def _new_people_recorded() -> Iterator[None]:
    """Keep an event of everybody who is made meanwhile; the command has no other moment for it."""
    post_save.connect(_record, sender=User, dispatch_uid="createsuperuser")
    try:
        yield
    finally:
        post_save.disconnect(sender=User, dispatch_uid="createsuperuser")


def _record(sender, instance: User, created: bool, **_) -> None:
    if not created:
        return
    try:
        account_record(Action.CREATE, instance, after={"is_operator": instance.is_operator})
    except AuditUnavailable:
        instance.delete()
        raise
