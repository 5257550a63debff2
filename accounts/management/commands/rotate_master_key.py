"""Lock every key under the first of the master keys, so that the others can be removed."""

from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from accounts.key_services import master_key_rotate
from accounts.keys.errors import KeyFault
from accounts.keys.services import keys_check


class Command(ActingCommand):
    help = (
        "Lock every hospital's keys under the first key of MASTER_KEY. Put a new one first, keep "
        "the old one after it, restart the service, run this, and then remove the old one."
    )

    def handle(self, *args, **options) -> None:
        try:
            locked = master_key_rotate()
            opened = keys_check().opened
        except KeyFault as fault:
            raise CommandError(fault.message) from fault
        self.stdout.write(
            f"{locked} keys were locked by an older master key, and all {opened} are locked by the "
            "first one now. Remove the older ones from MASTER_KEY, and keep them for as long as "
            "you keep backups from before."
        )
