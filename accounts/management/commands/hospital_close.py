"""Close a hospital to its members, or open it again."""

from accounts.audit.commands import ActingCommand
from accounts.hospital_services import hospital_close, hospital_open
from accounts.management.hospitals import hospital_named


class Command(ActingCommand):
    help = "Close a hospital: nobody works there from their next click on. Its records stay."

    def add_arguments(self, parser) -> None:
        parser.add_argument("name", help="the hospital's name")
        parser.add_argument("--reopen", action="store_true", help="open it again instead")
        parser.add_argument("--reason", default="", help="why, for the audit trail")

    def handle(self, *args, name: str, reopen: bool, reason: str, **options) -> None:
        hospital = hospital_named(name)
        change = hospital_open if reopen else hospital_close
        change(hospital=hospital, reason=reason)
        self.stdout.write(f"{hospital.name} is {'open again' if reopen else 'closed'}.")
