"""What the commands about one person share."""

from django.core.management.base import CommandError

from accounts.models import User
from accounts.selectors import user_by_email


def user_named(email: str) -> User:
    """Return whose account has an e-mail. Raises CommandError when nobody's has."""
    user = user_by_email(email)
    if user is None:
        raise CommandError("Nobody has an account with this e-mail. Check the spelling.")
    return user
