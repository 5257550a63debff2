"""Make a platform operator from the command line: the first one, who then adds others on a page."""

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from accounts.operator_services import operator_add


class Command(ActingCommand):
    help = "Make a platform operator; prints their first password once."

    def add_arguments(self, parser) -> None:
        parser.add_argument("email", help="one that they use for no hospital")
        parser.add_argument("--name", required=True, help="the operator's name")

    def handle(self, *args, email: str, name: str, **options) -> None:
        try:
            user, password = operator_add(email=email, name=name)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"{user.name} runs the platform and signs in with {user.email}.")
        self.stdout.write(f"First password: {password}")
