"""Let somebody in again who has forgotten their password."""

from accounts.audit.commands import ActingCommand
from accounts.management.people import user_named
from accounts.services import user_reset_password


class Command(ActingCommand):
    help = "Print a new first password for a person, who must change it when they sign in."

    def add_arguments(self, parser) -> None:
        parser.add_argument("email", help="the e-mail that the person signs in with")

    def handle(self, *args, email: str, **options) -> None:
        user = user_named(email)
        password = user_reset_password(user=user)
        self.stdout.write(f"{user.email} signs in with: {password}")
        self.stdout.write("It is shown only now, and every session they had is over.")
