"""When two records may be of one person. Pure: no database, no keys.

`likeness_texts` gives what a record is looked up by (each text is hashed under the hospital's key
before it is stored), and `likeness` judges two records that a look-up has brought together.
"""

import datetime as dt
import re
import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum

from workspace.letters import PLAIN_LETTERS

# The last digits of a telephone number are the same with and without the country's code.
PHONE_DIGITS = 8
LEAST_PHONE_DIGITS = 6
SIMILAR_NAMES = 0.85


class Sign(Enum):
    """Why two records may be of one person, the strongest first: key, words, strength."""

    NAME_AND_BIRTH = ("name-birth", "Same name and date of birth", 3)
    NAME_AND_SWAPPED_BIRTH = ("swapped", "Same name; day and month of birth swapped", 3)
    MRN_BUT_SIGNS = ("mrn", "Record numbers differ only in spaces, signs or zeros", 3)
    MRN_BUT_ONE = ("mrn-one", "Record numbers differ in one character", 2)
    SIMILAR_NAME_AND_BIRTH = ("similar", "Similar name, same date of birth", 2)
    EMAIL = ("email", "Same e-mail", 1)
    PHONE = ("phone", "Same telephone number", 1)

    def __init__(self, key: str, words: str, strength: int) -> None:
        self.key, self.words, self.strength = key, words, strength


@dataclass(frozen=True)
class Identity:
    """What identifies a person in a record, as it was typed."""

    mrn: str
    name: str
    birth_date: dt.date
    phone: str = ""
    email: str = ""


def identity_of(record) -> Identity:
    """Take what identifies a person out of a patient, or of anything with the same fields."""
    return Identity(record.mrn, record.name, record.birth_date, record.phone, record.email)


def plain_name(name: str) -> str:
    """Return a name without case, accents and signs, its words in alphabetical order."""
    apart = unicodedata.normalize("NFKD", name.casefold().translate(PLAIN_LETTERS))
    letters = "".join(one for one in apart if not unicodedata.combining(one))
    return " ".join(sorted(re.findall(r"\w+", letters)))


def plain_mrn(mrn: str) -> str:
    """Return a record number without case, spaces, signs, and zeros before a number."""
    signs_out = re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", mrn).casefold())
    return "".join(re.sub(r"(?<!\d)0+(?=\d)", "", signs_out).split())


def plain_phone(phone: str) -> str:
    """Return the digits that tell a telephone from others, or nothing for too few of them."""
    digits = "".join(one for one in unicodedata.normalize("NFKC", phone) if one.isdecimal())
    return digits[-PHONE_DIGITS:] if len(digits) >= LEAST_PHONE_DIGITS else ""


def plain_email(email: str) -> str:
    return email.strip().casefold()


def likeness_texts(identity: Identity) -> dict[str, str]:
    """Return what to look a record up by: kind to text, without the empty ones."""
    name = plain_name(identity.name)
    texts = {
        # Day and month in order of size: swapped ones give the same text.
        "person": f"{name} {_birth_either_way(identity.birth_date)}" if name else "",
        "name": name,
        "mrn": plain_mrn(identity.mrn),
        "phone": plain_phone(identity.phone),
        "email": plain_email(identity.email),
    }
    return {kind: text for kind, text in texts.items() if text}


def likeness(one: Identity, other: Identity) -> list[Sign]:
    """Return every sign that two records are of one person, the strongest first."""
    found = [*_name_signs(one, other), *_mrn_signs(one, other), *_contact_signs(one, other)]
    return sorted(found, key=lambda sign: -sign.strength)


def _name_signs(one: Identity, other: Identity) -> list[Sign]:
    names = plain_name(one.name), plain_name(other.name)
    if not all(names):
        return []
    same_birth = one.birth_date == other.birth_date
    if names[0] == names[1] and same_birth:
        return [Sign.NAME_AND_BIRTH]
    if names[0] == names[1] and _births_swapped(one, other):
        return [Sign.NAME_AND_SWAPPED_BIRTH]
    if same_birth and SequenceMatcher(None, *names, autojunk=False).ratio() >= SIMILAR_NAMES:
        return [Sign.SIMILAR_NAME_AND_BIRTH]
    return []


def _mrn_signs(one: Identity, other: Identity) -> list[Sign]:
    """Numbers are often given in order: one character more or less needs a second sign."""
    if plain_mrn(one.mrn) == plain_mrn(other.mrn) != "":
        return [Sign.MRN_BUT_SIGNS]
    same_name = plain_name(one.name) == plain_name(other.name)
    same_person = same_name or one.birth_date == other.birth_date
    if same_person and _one_apart(_bare(one.mrn), _bare(other.mrn)):
        return [Sign.MRN_BUT_ONE]
    return []


def _contact_signs(one: Identity, other: Identity) -> list[Sign]:
    email, phone = plain_email(one.email), plain_phone(one.phone)
    signs = [Sign.EMAIL] if email and email == plain_email(other.email) else []
    return [*signs, Sign.PHONE] if phone and phone == plain_phone(other.phone) else signs


def _births_swapped(one: Identity, other: Identity) -> bool:
    return _birth_either_way(one.birth_date) == _birth_either_way(other.birth_date)


def _birth_either_way(born: dt.date) -> str:
    low, high = sorted((born.day, born.month))
    return f"{born.year:04d}-{low:02d}-{high:02d}"


def _bare(mrn: str) -> str:
    return re.sub(r"[\W_]+", "", mrn.casefold())


def _one_apart(one: str, other: str) -> bool:
    """Whether two texts differ by one character changed, added, left out, or two swapped."""
    if one == other:
        return False
    start = _common_start(one, other)
    rest, other_rest = one[start:], other[start:]
    return (
        rest[1:] == other_rest[1:]
        or rest[1:] == other_rest
        or rest == other_rest[1:]
        or (rest[:2] == other_rest[1::-1] and rest[2:] == other_rest[2:])
    )


def _common_start(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
