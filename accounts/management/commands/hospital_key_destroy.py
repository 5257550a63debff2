"""Make what is sealed for a hospital unreadable, for good."""

from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from accounts.key_services import hospital_key_destroy
from accounts.keys.key_ring import KEY_CACHE_S
from accounts.management.hospitals import hospital_named
from drservice.common.errors import ServiceFault


class Command(ActingCommand):
    help = (
        "Destroy a hospital's keys. Names, record numbers, phone numbers, e-mails and notes of all "
        "its patients, and whom it has invited, can never be read again. Photographs, grades and "
        "the audit trail stay."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("hospital", help="the hospital's name")
        parser.add_argument("--confirm", metavar="NAME", required=True, help="its name once more")
        parser.add_argument("--reason", default="", help="for the audit trail")

    def handle(self, *args, hospital: str, confirm: str, reason: str, **options) -> None:
        found = hospital_named(hospital)
        if confirm != found.name:
            raise CommandError(
                f"Nothing was destroyed: --confirm must repeat the name, {found.name!r}."
            )
        if not reason.strip():
            raise CommandError("Nothing was destroyed: say why with --reason, for the audit trail.")
        try:
            hospital_key_destroy(hospital=found, reason=reason)
        except ServiceFault as fault:
            raise CommandError(fault.message) from fault
        self.stdout.write(
            f"The keys of {found.name} are destroyed. Every process stops using them within "
            f"{KEY_CACHE_S:.0f} seconds. Backups from before still hold them, locked by the master "
            "key: docs/keys.md says what to do about those."
        )
