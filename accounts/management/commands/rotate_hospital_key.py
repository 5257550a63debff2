"""Give a hospital a new data key and seal its records with it."""

from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from accounts.key_services import hospital_key_rotate, hospital_reseal
from accounts.management.hospitals import hospital_named
from drservice.common.errors import ServiceFault


class Command(ActingCommand):
    help = (
        "Give a hospital a new data key and seal all its records with it, while people work. When "
        "it breaks off, run it again: it goes on, and makes no further key."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("hospital", help="the hospital's name")

    def handle(self, *args, hospital: str, **options) -> None:
        found = hospital_named(hospital)
        try:
            state = hospital_key_rotate(hospital=found)
            self.stdout.write(
                f"Version {state.version} of the key seals what is saved from now on."
            )
            resealed = hospital_reseal(hospital=found)
        except ServiceFault as fault:
            raise CommandError(fault.message) from fault
        self.stdout.write(f"{resealed} records were sealed anew; none has an older key.")
