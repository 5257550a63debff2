"""List and delete the invitations that have been over for long enough."""

from accounts.audit.commands import ActingCommand
from accounts.people.sweeping import InvitationSweep, invitations_sweep


class Command(ActingCommand):
    help = (
        "Delete the invitations of all hospitals that were accepted, withdrawn or expired "
        "INVITATION_KEEP_DAYS ago, as the service does by itself every hour."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count only, delete nothing")

    def handle(self, *args, dry_run: bool, **options) -> None:
        for sweep in invitations_sweep(dry_run=dry_run):
            self.stdout.write(f"{sweep.hospital.name}: {_words(sweep, dry_run)}")


def _words(sweep: InvitationSweep, dry_run: bool) -> str:
    if dry_run:
        return f"{sweep.due} would be deleted"
    return f"{sweep.deleted} deleted"
