"""Print where each audit chain ends, to be kept where nobody who has the database can reach it."""

from bson import ObjectId
from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from accounts.audit.management.commands.verify_audit import chains_named
from accounts.audit.verification import HeadHolds, head_mend, head_place


class Command(ActingCommand):
    help = (
        "Print the head of one chain or of all, to be kept elsewhere: `verify_audit --head` then "
        "proves that nothing was cut off. --mend puts a broken head back to the last event."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("hospital", nargs="?", help="a hospital's name, or its id")
        parser.add_argument("--platform", action="store_true", help="the platform's own chain")
        parser.add_argument("--mend", metavar="REASON", help="why the head is put back")

    def handle(self, *args, hospital, platform, mend, **options) -> None:
        chains = chains_named(hospital, platform)
        if mend and len(chains) != 1:
            raise CommandError("Name the hospital whose head is to be put back, or --platform.")
        for pk, title in chains.items():
            if mend:
                self._mend(pk, title, mend)
            self._print(pk, title)

    def _print(self, pk: ObjectId | None, title: str) -> None:
        place = head_place(pk)
        self.stdout.write(f"{title}\t{place or 'no events, or a head that was altered'}")

    def _mend(self, pk: ObjectId | None, title: str, reason: str) -> None:
        try:
            fault = head_mend(hospital_id=pk, reason=reason)
        except HeadHolds as error:
            raise CommandError(error.message) from error
        self.stderr.write(f"{title}: the head is put back. It was found that {fault}.")
