"""Make the demo hospitals, people and patients, and print the passwords, once."""

from accounts.audit.commands import ActingCommand
from workspace.demo import DemoPerson, demo_create


class Command(ActingCommand):
    help = "Make two demo hospitals with a person for every role and twelve synthetic patients."

    def handle(self, *args, **options) -> None:
        people = demo_create()
        fresh = [person for person in people if person.password]
        if not fresh:
            self.stdout.write("The demo is there already; passwords are shown only when made.")
            self.stdout.write("Set a new one with: manage.py password_reset E-MAIL")
            return
        self.stdout.write("Demo accounts. These passwords are shown now and never again:\n")
        for person in fresh:
            self.stdout.write(_line(person))


def _line(person: DemoPerson) -> str:
    place = person.hospital or "platform"
    return f"  {person.email:<36} {person.password:<18} {person.role}, {place}"
