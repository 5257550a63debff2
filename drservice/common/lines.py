"""One line of text as people see it: names and numbers that are shown beside each other."""

import unicodedata

# Joins or parts letters within a word, as Persian and Indian names are written.
JOINERS = "\u200c\u200d"
# Controls, and what is written but never seen: turns of direction, spaces without width.
UNSEEN = ("Cc", "Cf")


def one_line(text: str) -> str:
    """Return a text with single spaces and without anything that nobody sees.

    A name that turns the direction of what follows is read as somebody else's, and a number with a
    space of no width, as copied from a document, looks like the one that is registered already.
    """
    seen = "".join(one for one in text if not _is_unseen(one))
    line = " ".join(seen.split())
    return line if line.strip(JOINERS) else ""


def _is_unseen(letter: str) -> bool:
    if letter.isspace() or letter in JOINERS:
        return False
    return unicodedata.category(letter) in UNSEEN
