"""Read a roster: a CSV file of people to invite, as spreadsheet programs write it.

Knows no database. Each line becomes a row with either what to invite or what is wrong and how to
put it right; a bad line never holds up a good one.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import models

from accounts.permissions import Role
from drservice.common.lines import one_line

MAX_BYTES = 200_000
MAX_ROWS = 300
MAX_NAME, MAX_EMAIL = 120, 254
DELIMITERS = ",;\t"
# What a spreadsheet would run as a formula when somebody opens a list with this cell in it.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")

COLUMNS = {
    "name": {"name", "full name", "person"},
    "email": {"e-mail", "email", "e mail", "mail", "e-mail address", "email address"},
    "roles": {"role", "roles"},
}
ROLE_WORDS = {
    **{role.value.replace("_", " "): role for role in Role},
    **{role.label.casefold(): role for role in Role},
    "admin": Role.HOSPITAL_ADMIN,
}
BETWEEN_ROLES = re.compile(r"[,;/|+&]|\band\b", re.IGNORECASE)


class Verdict(models.TextChoices):
    """What becomes of one row."""

    INVITE = "invite", "Will be invited"
    INVITED = "invited", "Invited"
    NO_NAME = "no_name", "Name missing"
    LONG_NAME = "long_name", "Name too long"
    FORMULA = "formula", "Looks like a formula"
    BAD_EMAIL = "bad_email", "Bad e-mail"
    NO_ROLE = "no_role", "Role missing"
    UNKNOWN_ROLE = "unknown_role", "Unknown role"
    DUPLICATE = "duplicate", "Twice in the file"
    MEMBER = "member", "Works here already"
    DEACTIVATED = "deactivated", "Deactivated here"
    PENDING = "pending", "Invited already"
    REFUSED = "refused", "Can't be invited"


# Nothing is wrong with these rows and nothing has to be done about them.
NOTHING_TO_DO = frozenset({Verdict.MEMBER, Verdict.PENDING})


class RosterError(ValueError):
    """The file as a whole can't be read; the text says why and what to do."""


@dataclass(frozen=True)
class Row:
    """One person of a roster, with the number of the line that a text editor shows."""

    line: int
    name: str
    email: str
    roles: tuple[str, ...] = ()
    verdict: Verdict = Verdict.INVITE
    cure: str = ""

    @property
    def is_good(self) -> bool:
        return self.verdict == Verdict.INVITE

    @property
    def is_bad(self) -> bool:
        return self.verdict not in (Verdict.INVITE, Verdict.INVITED, *NOTHING_TO_DO)

    @property
    def role_labels(self) -> list[str]:
        return [role.label for role in Role if role in self.roles]

    def judged(self, verdict: Verdict, cure: str = "") -> "Row":
        return replace(self, verdict=verdict, cure=cure)


def roster_read(content: bytes) -> list[Row]:
    """Return the rows of a roster, in its order. Raises RosterError for the file as a whole."""
    if len(content) > MAX_BYTES:
        raise RosterError(f"The file is larger than {MAX_BYTES // 1000} kB. Split it.")
    lines = list(_filled_lines(_text(content)))
    if not lines:
        raise RosterError("The file is empty. Write one person on each line.")
    places, lines = _places(lines)
    if len(lines) > MAX_ROWS:
        raise RosterError(f"The file has more than {MAX_ROWS} people. Split it.")
    if not lines:
        raise RosterError("The file has a heading and no people. Write one person on each line.")
    return _without_repetition([_row(number, cells, places) for number, cells in lines])


def _text(content: bytes) -> str:
    """Decode what Excel, LibreOffice and Numbers write: UTF-8 or UTF-16 with a mark, or Latin-1."""
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise RosterError("This is a workbook. Save the sheet as CSV, and upload that file.")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decoded(content, "utf-16")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    if "\0" in text:
        raise RosterError("This is not a text file. Save the sheet as CSV, and upload that file.")
    return text


def _decoded(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise RosterError("The file is damaged. Save the sheet as CSV (UTF-8) again.") from error


def _filled_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line that has any, with the number of the line it begins on."""
    delimiter = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    begins = 1
    try:
        for cells in reader:
            cells = [one_line(cell) for cell in cells]
            if any(cells) and not (begins == 1 and cells[0].lower().startswith("sep=")):
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise RosterError(
            f"Line {begins} can't be read: a quotation mark may be missing. Save it as CSV again."
        ) from error


def _delimiter(text: str) -> str:
    """Return what separates cells: what the first line says, or what it holds most of."""
    first, _, rest = text.lstrip().partition("\n")
    if first.lower().startswith("sep=") and len(first.strip()) == len("sep=;"):
        return first.strip()[-1]
    return max(DELIMITERS, key=first.count)


def _places(lines: list[tuple[int, list[str]]]) -> tuple[dict[str, int], list]:
    """Return in which cell name, e-mail and roles stand, and the lines below the heading."""
    _, first = lines[0]
    if any("@" in cell for cell in first):
        return {"name": 0, "email": 1, "roles": 2}, lines
    known = {
        column: place
        for column, words in COLUMNS.items()
        for place, cell in enumerate(first)
        if cell.casefold() in words
    }
    missing = [column for column in COLUMNS if column not in known]
    if missing:
        raise RosterError(
            "The first line must name the columns: Name, E-mail, Roles. "
            f"Not found: {', '.join(missing).replace('email', 'e-mail')}."
        )
    return known, lines[1:]


def _row(number: int, cells: list[str], places: dict[str, int]) -> Row:
    read = {column: cells[place] if place < len(cells) else "" for column, place in places.items()}
    row = Row(number, read["name"][: MAX_NAME + 1], read["email"][: MAX_EMAIL + 1].lower())
    return _fault_of_person(row) or _with_roles(row, read["roles"])


def _fault_of_person(row: Row) -> Row | None:
    if row.name.startswith(FORMULA_SIGNS) or row.email.startswith(FORMULA_SIGNS):
        return row.judged(Verdict.FORMULA, "Write the plain name and address, without = + - or @.")
    if not row.name:
        return row.judged(Verdict.NO_NAME, "Write what colleagues call the person.")
    if len(row.name) > MAX_NAME:
        return row.judged(Verdict.LONG_NAME, f"Shorten the name to {MAX_NAME} characters.")
    if len(row.email) > MAX_EMAIL or not _is_email(row.email):
        return row.judged(Verdict.BAD_EMAIL, "Write one address, such as ana@clinic.example.")
    return None


def _is_email(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True


def _with_roles(row: Row, text: str) -> Row:
    words = [word.strip() for word in BETWEEN_ROLES.split(text) if word.strip()]
    if not words:
        return row.judged(Verdict.NO_ROLE, f"Write one or more of: {_role_names()}.")
    roles = [ROLE_WORDS.get(word.casefold().replace("_", " ").replace("-", " ")) for word in words]
    if None in roles:
        unknown = words[roles.index(None)][:40]
        return row.judged(Verdict.UNKNOWN_ROLE, f"“{unknown}” is none. Write: {_role_names()}.")
    return replace(row, roles=tuple(role.value for role in Role if role in roles))


def _role_names() -> str:
    return ", ".join(role.label for role in Role)


def _without_repetition(rows: list[Row]) -> list[Row]:
    """Let the first good row of an address count, and name that line in every later one."""
    first: dict[str, int] = {}
    judged = []
    for row in rows:
        if row.is_good and row.email in first:
            cure = f"Line {first[row.email]} has this address too, and counts. Remove one of them."
            row = row.judged(Verdict.DUPLICATE, cure)
        elif row.is_good:
            first[row.email] = row.line
        judged.append(row)
    return judged
