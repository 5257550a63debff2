"""Commands that act: what they do is in the audit trail under their name."""

import getpass

from django.core.management.base import BaseCommand

from accounts.audit.actors import Actor, ActorKind, acting_as


class ActingCommand(BaseCommand):
    """A command that changes something: its events name it, and who runs it on this machine."""

    def execute(self, *args, **options):
        with acting_as(Actor(ActorKind.COMMAND, name=f"{self.command_name} ({_runner()})")):
            return super().execute(*args, **options)

    @property
    def command_name(self) -> str:
        return type(self).__module__.rpartition(".")[2]


def _runner() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container whose user has no name.
        return "unknown user"
