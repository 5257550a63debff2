"""Write everything of one hospital into a folder, with the hash of every file."""

from pathlib import Path

from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from accounts.management.hospitals import hospital_named
from drservice.common.errors import ServiceFault
from workspace.patients.hospital_exporting import export_check, hospital_export


class Command(ActingCommand):
    help = (
        "Export a hospital: patients, cases, people and audit trail as JSON lines, photographs and "
        "attention maps, and the hash of every file. Names stand in it in plain text. Run it again "
        "after it broke off: it goes on. Close the hospital first for a picture that stands still."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("hospital", help="the hospital's name")
        parser.add_argument("--out", type=Path, required=True, help="the folder to make")
        parser.add_argument("--reason", default="", help="for the audit trail")
        parser.add_argument("--check", action="store_true", help="only read a made export again")

    def handle(self, *args, hospital: str, out: Path, reason: str, check: bool, **options) -> None:
        found = hospital_named(hospital)
        if check:
            self._check(out)
            return
        if not reason.strip():
            raise CommandError("Say with --reason what the export is for, for the audit trail.")
        try:
            export = hospital_export(hospital=found, out=out, reason=reason)
        except (ServiceFault, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{out} holds {len(export.files)} files, each read a second time.")
        if export.problems:
            worst = "".join(f"\n  {one['path']}: {one['problem']}" for one in export.problems[:20])
            raise CommandError(f"{len(export.problems)} stored files are not as they were:{worst}")

    def _check(self, out: Path) -> None:
        try:
            wrong = export_check(out)
        except (OSError, ValueError) as error:
            raise CommandError(f"{out} is no whole export: {error}") from error
        if wrong:
            raise CommandError(f"{len(wrong)} files are not as listed: {', '.join(wrong[:20])}")
        self.stdout.write(f"{out} is as it was written.")
