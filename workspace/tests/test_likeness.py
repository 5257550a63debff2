"""When two records may be of one person, and when they are not."""

import datetime as dt

import pytest

from workspace.patients.likeness import (
    Identity,
    Sign,
    likeness,
    likeness_texts,
    plain_mrn,
    plain_name,
    plain_phone,
)

BORN = dt.date(1961, 4, 12)
AMARA = Identity("N-0017", "Amara Diallo", BORN, "+41 79 555 01 02", "amara@example.org")


def other(**fields) -> Identity:
    away = {"mrn": "Q-902", "name": "Somebody Else", "birth_date": dt.date(1990, 1, 30)}
    return Identity(**{**away, **fields})


@pytest.mark.parametrize(
    "name",
    [
        "amara DIALLO",
        "Diallo, Amara",
        "Ámara  Diallo",
        "Diallo Amara",
        "Amara-Diallo",
        "Amará Dïallo",
    ],
)
def test_plain_name_forgets_case_accents_signs_and_order(name):
    assert plain_name(name) == plain_name("Amara Diallo")


@pytest.mark.parametrize(
    ("one", "same"), [("Søren", "Soren"), ("Łucja", "Lucja"), ("Weiß", "WEISS"), ("李 明", "明 李")]
)
def test_plain_name_knows_letters_of_other_alphabets(one, same):
    assert plain_name(one) == plain_name(same) != ""


@pytest.mark.parametrize("mrn", ["n-17", "N 17", "N0017", " N-00017 ", "N_17"])
def test_plain_mrn_forgets_spaces_signs_and_leading_zeros(mrn):
    assert plain_mrn(mrn) == plain_mrn("N-0017") == "n17"


def test_plain_mrn_keeps_zeros_that_count():
    assert len({plain_mrn(mrn) for mrn in ("N-170", "N-17", "N-107", "0", "N-1007")}) == 5


def test_plain_phone_is_the_same_with_and_without_the_country():
    assert plain_phone("079 555 01 02") == plain_phone("+41 79 555 01 02") == "95550102"
    assert plain_phone("112") == plain_phone("none") == ""


@pytest.mark.parametrize(
    ("found", "signs"),
    [
        (other(name="Diallo Amara", birth_date=BORN), [Sign.NAME_AND_BIRTH]),
        (
            other(name="Diallo Amara", birth_date=dt.date(1961, 12, 4)),
            [Sign.NAME_AND_SWAPPED_BIRTH],
        ),
        (other(name="Amara Dialo", birth_date=BORN), [Sign.SIMILAR_NAME_AND_BIRTH]),
        (other(mrn="n17"), [Sign.MRN_BUT_SIGNS]),
        (other(mrn="N-0018", birth_date=BORN), [Sign.MRN_BUT_ONE]),
        (other(mrn="N-0071", birth_date=BORN), [Sign.MRN_BUT_ONE]),
        (other(mrn="N-00177", name="amara diallo"), [Sign.MRN_BUT_ONE]),
        (other(mrn="N-001", birth_date=BORN), [Sign.MRN_BUT_ONE]),
        (other(phone="0795550102"), [Sign.PHONE]),
        (other(email="AMARA@example.org "), [Sign.EMAIL]),
        # Numbers given in order, a common name, a birthday: each alone says nothing.
        (other(mrn="N-0018"), []),
        (other(name="Amara Diallo"), []),
        (other(birth_date=BORN), []),
        (other(mrn="N-0186", birth_date=BORN), []),
        (other(), []),
    ],
)
def test_likeness_names_its_signs_either_way_round(found, signs):
    assert likeness(AMARA, found) == signs
    assert likeness(found, AMARA) == signs


def test_likeness_puts_the_strongest_sign_first():
    both = Identity("N-0017", "Amara Diallo", BORN, phone="079 555 01 02")
    assert likeness(AMARA, both) == [Sign.NAME_AND_BIRTH, Sign.MRN_BUT_SIGNS, Sign.PHONE]


def test_likeness_texts_leave_out_what_is_not_known():
    assert set(likeness_texts(AMARA)) == {"person", "name", "mrn", "phone", "email"}
    assert set(likeness_texts(other())) == {"person", "name", "mrn"}
    assert set(likeness_texts(other(mrn="--", name="?"))) == set()
    assert likeness(other(mrn="--", name="?"), other(mrn=".", name="!")) == []
