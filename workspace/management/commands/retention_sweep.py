"""List the records whose time is over, and erase them where the hospital has decided so."""

from accounts.audit.commands import ActingCommand
from workspace.patients.sweeping import HospitalSweep, records_sweep


class Command(ActingCommand):
    help = (
        "Look at every hospital's records: list what is due by its retention rule, erase it where "
        "the hospital switched that on, and finish erasures that were broken off."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="list only, erase nothing")

    def handle(self, *args, dry_run: bool, verbosity: int, **options) -> None:
        for sweep in records_sweep(dry_run=dry_run):
            self.stdout.write(f"{sweep.hospital.name}: {_words(sweep, dry_run)}")
            for record in sweep.due if verbosity > 0 else []:
                last = f"{record.last_visit:%Y-%m-%d}" if record.last_visit else "never"
                self.stdout.write(f"  {record.patient.pk}  last visit {last}")


def _words(sweep: HospitalSweep, dry_run: bool) -> str:
    due = f"{len(sweep.due)} due"
    if not sweep.due:
        return due
    if not sweep.erases:
        return f"{due}; the hospital erases by hand"
    return f"{due}, would be erased" if dry_run else f"{due}, {sweep.erased} erased"
