"""What a password must not be, beyond its length: common, or the name of its place or person.

No list of 3 000 common passwords with ten characters and more has to be shipped: Django's 20 000
are mostly shorter, and what people make of a short one to reach ten characters is known as well.
See docs/decisions/why-no-list-of-long-passwords.md.
"""

import re
from collections.abc import Iterator

from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

from accounts.selectors import memberships_of

SHORTEST_WORD = 4
SERVICE_WORDS = ("drservice", "retinopathy", "screening")
LOOKALIKES = str.maketrans("013457@$!", "oieastasi")
ENDS = re.compile(r"^[\W\d_]+|[\W\d_]+$")
SIGNS_AROUND = re.compile(r"^[\W_]+|[\W_]+$")
LETTERS = re.compile(r"[^\W\d_]+")


class DressedUpPasswordValidator(CommonPasswordValidator):
    """Refuse a common password, also one that digits, signs or a repetition made longer."""

    def validate(self, password: str, user=None) -> None:
        if any(form in self.passwords for form in _undressed(password.lower().strip())):
            raise ValidationError(self.get_error_message(), code="password_too_common")

    def get_error_message(self) -> str:
        return "This password is one of those that are tried first. Take three or four words."


class NamesInPasswordValidator:
    """Refuse a password around the name of the person, of their hospital or of this service."""

    def validate(self, password: str, user=None) -> None:
        rest = password.lower()
        for name in sorted(_names_around(user), key=len, reverse=True):
            rest = rest.replace(name, "")
        # Names may stand in a password, but what stands beside them must be enough by itself.
        if rest != password.lower() and len(rest) < 8:
            raise ValidationError(
                "Apart from your name, your hospital's or this service's, this password has too "
                "little in it.",
                code="password_is_a_name",
            )

    def get_help_text(self) -> str:
        return "Your password can't be your name or your hospital's with a few characters added."


def _undressed(password: str) -> Iterator[str]:
    """Yield what a password may have been made from."""
    for form in (password, password.translate(LOOKALIKES)):
        yield form
        yield SIGNS_AROUND.sub("", form)
        core = ENDS.sub("", form)
        if len(core) >= SHORTEST_WORD:
            yield core
            yield from _once(core)
        yield from _once(form)


def _once(text: str) -> Iterator[str]:
    """Yield what was repeated to make a text: twice, or three times."""
    for times in (2, 3):
        part = text[: len(text) // times]
        if len(part) >= SHORTEST_WORD and part * times == text:
            yield part


def _names_around(user) -> set[str]:
    texts = [*SERVICE_WORDS]
    if user is not None:
        texts += [user.name, user.email.partition("@")[0]]
        texts += [membership.hospital.name for membership in _places(user)]
    words = (word for text in texts for word in LETTERS.findall(text.lower()))
    return {word for word in words if len(word) >= SHORTEST_WORD}


def _places(user) -> list:
    return memberships_of(user) if user.pk else []
