"""Patients are found by the beginnings of words, and what is stored for that says none of them."""

import pytest

from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from workspace.patient_search import HASH_LETTERS, mrn_hash, query_hashes, search_hashes
from workspace.selectors import patient_list
from workspace.tests.factories import make_patient

pytestmark = pytest.mark.django_db

FOUND = [
    ("Zoë O'Brien", "X.7", "zoë"),
    ("Zoë O'Brien", "X.7", "ZOE"),
    ("Zoë O'Brien", "X.7", "z"),
    ("Zoë O'Brien", "X.7", "o'brien"),
    ("Zoë O'Brien", "X.7", "obri"),
    ("Zoë O'Brien", "X.7", "brien"),
    ("Zoë O'Brien", "X.7", "bri zo"),
    ("Zoë O'Brien", "X.7", "x.7"),
    ("Zoë O'Brien", "X.7", " x7  zoë "),
    ("Anne-Marie Weiß", "MRN-00042", "weiss anne"),
    ("Anne-Marie Weiß", "MRN-00042", "marie"),
    ("Anne-Marie Weiß", "MRN-00042", "mrn-0004"),
    ("Anne-Marie Weiß", "MRN-00042", "42"),
    ("Jørgen Łukasz", "1", "jorgen luk"),
    ("李小龙", "1", "李小"),
    ("अमिता", "1", "अमि"),
    ("Ali", "—", "—"),
    ("Ali", "1234567890" * 3 + "1", "1234567890" * 3),
]
NOT_FOUND = [
    ("Zoë O'Brien", "X.7", "oë"),
    ("Zoë O'Brien", "X.7", "rien"),
    ("Zoë O'Brien", "X.7", "zoë x8"),
    ("Zoë O'Brien", "X.7", ".*"),
    ("Zoë O'Brien", "X.7", "\0"),
    ("Zoë O'Brien", "X.7", "zoëo"),
    ("अमिता", "1", "अमु"),
]


@pytest.mark.parametrize(("name", "mrn", "search"), FOUND)
def test_patient_is_found(name, mrn, search):
    assert found(name, mrn, search)


@pytest.mark.parametrize(("name", "mrn", "search"), NOT_FOUND)
def test_patient_is_not_found(name, mrn, search):
    assert not found(name, mrn, search)


def found(name: str, mrn: str, search: str) -> bool:
    hospital_id = make_hospital().pk
    wanted = query_hashes(search, hospital_id)
    return bool(wanted) and set(wanted) <= set(search_hashes(name, mrn, hospital_id))


def test_hashes_say_neither_the_words_nor_their_order():
    a, b = make_hospital().pk, make_hospital().pk
    hashes = search_hashes("Abba Baab", "1", a)
    assert len(hashes) == len(set(hashes)) == 4 + 4 + 1
    assert hashes == sorted(hashes)
    assert {len(one) for one in hashes} == {HASH_LETTERS}
    assert not set(hashes) & set(search_hashes("Abba Baab", "1", b))


def test_record_numbers_are_one_whatever_their_case_and_spaces():
    hospital_id = make_hospital().pk
    same = {mrn_hash(mrn, hospital_id) for mrn in ("N-1", " n-1 ", "Ｎ-1")}
    assert len(same) == 1
    assert mrn_hash("N-11", hospital_id) not in same
    assert mrn_hash("N-1", make_hospital().pk) not in same


def test_list_holds_whom_every_word_finds_newest_first():
    hospital = make_hospital()
    first = make_patient(hospital, name="Ada North", mrn="A-1")
    second = make_patient(hospital, name="Adam North", mrn="A-2")
    make_patient(hospital, name="Norton", mrn="B-1")
    make_patient(make_hospital(), name="Ada North", mrn="A-1")
    with hospital_scope(hospital.pk):
        assert patient_list(search="nor ada", start=0, count=9) == [second, first]
        assert patient_list(search="nor ada", start=1, count=9) == [first]
        assert patient_list(search="adam nor", start=0, count=9) == [second]
        assert patient_list(search="ada norton", start=0, count=9) == []
        assert len(patient_list(search=" ", start=0, count=9)) == 3
