"""Find patients by the beginnings of words, without the words: hashes stand in for them.

Names and record numbers rest sealed, so a patient carries keyed hashes of the beginnings of every
word in them. docs/decisions/why-sealed-fields-and-blind-indexes.md says what they give away.
"""

import unicodedata
from collections.abc import Iterator

from bson import ObjectId

from accounts.keys.sealing import keyed_hash, keyed_hashes
from workspace.letters import PLAIN_LETTERS

# A longer word is found by this much of its beginning.
LONGEST_BEGINNING = 24
# 64 bits of each hash: two beginnings of one hospital meet by chance once in millions of millions.
HASH_LETTERS = 11
SEARCH_PURPOSE = "patient search"
MRN_PURPOSE = "patient record number"
LATIN_ACCENTS = dict.fromkeys(range(0x0300, 0x0370))


def mrn_hash(mrn: str, hospital_id: ObjectId) -> str:
    """Return the hash that is equal for equal record numbers, whatever their case and spaces."""
    folded = " ".join(unicodedata.normalize("NFKC", mrn).casefold().split())
    return keyed_hash(folded, hospital_id=hospital_id, purpose=MRN_PURPOSE)


def search_hashes(name: str, mrn: str, hospital_id: ObjectId) -> list[str]:
    """Return the hashes by which a patient is found, in an order that says nothing."""
    beginnings = {
        word[:length]
        for word in _words(f"{name} {mrn}")
        for length in range(1, min(len(word), LONGEST_BEGINNING) + 1)
    }
    return sorted(_hashes(beginnings, hospital_id))


def query_hashes(search: str, hospital_id: ObjectId) -> list[str]:
    """Return the hashes that a patient must carry to be found."""
    beginnings = {_joined(word)[:LONGEST_BEGINNING] for word in _folded(search).split()}
    return _hashes(beginnings, hospital_id)


def _hashes(beginnings, hospital_id: ObjectId) -> list[str]:
    found = keyed_hashes(beginnings, hospital_id=hospital_id, purpose=SEARCH_PURPOSE)
    return [one[:HASH_LETTERS] for one in found]


def _words(text: str) -> Iterator[str]:
    """Give each word as a whole and by its parts: o'brien is found by obrien and by brien."""
    for word in _folded(text).split():
        yield _joined(word)
        for part in "".join(one if _is_letter(one) else " " for one in word).split():
            yield part
            # People leave out the zeros that a number begins with.
            yield part.lstrip("0")


def _joined(word: str) -> str:
    """Return a word without what stands between its letters; as it is when it has none."""
    return "".join(one for one in word if _is_letter(one)) or word


def _folded(text: str) -> str:
    """Return a text without case and without accents of Latin, Greek and Cyrillic letters."""
    plain = text.casefold().translate(PLAIN_LETTERS)
    return unicodedata.normalize("NFKD", plain).translate(LATIN_ACCENTS)


def _is_letter(one: str) -> bool:
    # Letters, their marks (vowels in many scripts) and numbers.
    return unicodedata.category(one)[0] in "LMN"
