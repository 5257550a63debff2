"""Let somebody in again who has lost their telephone, their passkeys and their recovery codes."""

from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from accounts.management.people import user_named
from accounts.sign_in.services import second_factors_remove


class Command(ActingCommand):
    help = (
        "Take away a person's second factors and end their sessions. Make sure first that it is "
        "they who ask: from then on their password alone lets in."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("email", help="the e-mail that the person signs in with")

    def handle(self, *args, email: str, **options) -> None:
        user = user_named(email)
        if not second_factors_remove(user=user):
            raise CommandError(
                f"{user.email} has no second factor. Their password may be the fault."
            )
        self.stdout.write(f"{user.email} signs in with their password alone. They can set up a new")
        self.stdout.write(
            "second factor with a code, which goes to their mail, or which the command"
        )
        self.stdout.write("second_factor_code prints. Every session they had is over.")
