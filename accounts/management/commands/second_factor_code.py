"""Let somebody set up their first second factor whom no mail reaches."""

from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from accounts.management.people import user_named
from accounts.sign_in.first_factor import CODE_GOOD_FOR_S, code_hand_over
from accounts.sign_in.selectors import has_second_factor


class Command(ActingCommand):
    help = (
        "Print a code with which a person may set up their first second factor, in place of the "
        "one that is mailed. Make sure first that it is they who ask: whoever has it and their "
        "password is in for good."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("email", help="the e-mail that the person signs in with")

    def handle(self, *args, email: str, **options) -> None:
        user = user_named(email)
        if has_second_factor(user):
            raise CommandError(f"{user.email} has a second factor already, and needs no code.")
        code = code_hand_over(user=user)
        self.stdout.write(f"{user.email} enters: {code}")
        self.stdout.write(f"It counts once, within {CODE_GOOD_FOR_S // 60} minutes.")
