"""Make a hospital and its first admin, who then adds everybody else in the browser."""

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from accounts.hospital_services import hospital_add


class Command(ActingCommand):
    help = "Make a hospital and its first admin; prints the admin's first password once."

    def add_arguments(self, parser) -> None:
        parser.add_argument("name", help="the hospital's name, as everybody will see it")
        parser.add_argument("--admin-email", required=True, help="the first admin signs in with it")
        parser.add_argument("--admin-name", required=True, help="what colleagues call the admin")

    def handle(self, *args, name: str, admin_email: str, admin_name: str, **options) -> None:
        try:
            hospital, password = hospital_add(
                name=name, admin_email=admin_email, admin_name=admin_name
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"{hospital.name} is made. {admin_name} signs in with {admin_email}.")
        self.stdout.write(f"First password: {password}")
