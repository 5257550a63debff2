"""Numbers that come with a request, as anybody may write anything there."""

MAX_DIGITS = 9


def whole_number(text: str) -> int | None:
    """Return what a parameter says, or None for anything but a plain number of sane length."""
    plain = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if plain else None
