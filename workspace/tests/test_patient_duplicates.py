"""Possible duplicates are found by keyed hashes, for one record and in the whole hospital."""

import datetime as dt

import pytest
from django.db import connection

from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from workspace.models import Patient
from workspace.patients.duplicates import duplicate_pairs, lookalikes_of
from workspace.patients.likeness import Sign
from workspace.patients.merging import patient_merge
from workspace.patients.registering import patient_create, patient_update
from workspace.tests.factories import make_patient

pytestmark = pytest.mark.django_db

BORN = dt.date(1961, 4, 12)


@pytest.fixture
def hospital():
    hospital = make_hospital()
    with hospital_scope(hospital.pk):
        yield hospital


def newcomer(hospital, **fields) -> Patient:
    away = {"mrn": "Z-99999", "name": "Nobody Known", "birth_date": dt.date(2001, 9, 9)}
    return Patient(hospital=hospital, **{**away, **fields})


@pytest.mark.parametrize(
    ("fields", "sign"),
    [
        ({"name": "DIALLO Ámara", "birth_date": BORN}, Sign.NAME_AND_BIRTH),
        ({"name": "Diallo", "birth_date": BORN}, None),
        ({"name": "Amara Diallo", "birth_date": dt.date(1961, 12, 4)}, Sign.NAME_AND_SWAPPED_BIRTH),
        ({"name": "Amara Dialo", "birth_date": BORN}, Sign.SIMILAR_NAME_AND_BIRTH),
        ({"phone": "079 555 01 02"}, Sign.PHONE),
        ({"email": "AMARA@example.org"}, Sign.EMAIL),
        ({"mrn": "a 17"}, Sign.MRN_BUT_SIGNS),
        ({"mrn": "A-0018", "birth_date": BORN}, Sign.MRN_BUT_ONE),
        ({"mrn": "A-0018"}, None),
    ],
)
def test_lookalikes_are_found_for_somebody_not_yet_registered(hospital, fields, sign):
    amara = make_patient(
        hospital,
        mrn="A-0017",
        name="Amara Diallo",
        birth_date=BORN,
        phone="+41 79 555 01 02",
        email="amara@example.org",
    )
    found = lookalikes_of(newcomer(hospital, **fields))
    assert [(one.patient.pk, one.signs) for one in found] == ([(amara.pk, [sign])] if sign else [])


def test_lookalikes_stay_inside_the_hospital():
    here, there = make_hospital(), make_hospital()
    make_patient(there, name="Amara Diallo", birth_date=BORN)
    with hospital_scope(here.pk):
        assert lookalikes_of(newcomer(here, name="Amara Diallo", birth_date=BORN)) == []
    ours = make_patient(here, name="Amara Diallo", birth_date=BORN)
    [theirs] = connection.get_collection("workspace_patient").find({"hospital_id": there.pk})
    assert not set(ours.match_keys) & set(theirs["match_keys"])


def test_match_keys_follow_corrections_and_hold_no_plain_text(hospital):
    patient = make_patient(hospital, name="Amara Diallo", phone="079 555 01 02")
    patient_update(patient=patient, name="Binta Sow", phone="")
    assert lookalikes_of(newcomer(hospital, phone="0795550102")) == []
    [found] = lookalikes_of(newcomer(hospital, name="Sow Binta", birth_date=patient.birth_date))
    assert found.patient.pk == patient.pk
    stored = str(Patient.objects.get(pk=patient.pk).match_keys).casefold()
    for mark in ("binta", "1960-01-01", "19600101"):
        assert mark not in stored


def test_lookalikes_lead_from_a_merged_record_to_its_survivor(hospital):
    stays, goes = make_patient(hospital, mrn="A-1"), make_patient(hospital, mrn="B-2")
    patient_merge(survivor=stays, merged=goes, by="A nurse", reason="One person")
    [found] = lookalikes_of(newcomer(hospital, mrn="b2"))
    assert (found.patient.pk, found.signs) == (stays.pk, [Sign.MRN_BUT_SIGNS])
    assert lookalikes_of(Patient.objects.get(pk=stays.pk)) == []


def test_duplicate_pairs_come_likeliest_first_and_leave_out_who_was_told_apart(hospital):
    family = [make_patient(hospital, phone="079 555 01 02") for _ in range(2)]
    twins = [make_patient(hospital, name="Amara Diallo") for _ in range(2)]
    make_patient(hospital)

    pairs = duplicate_pairs(start=0, count=10)

    assert [{pair.older.pk, pair.newer.pk} for pair in pairs] == [
        {one.pk for one in twins},
        {one.pk for one in family},
    ]
    assert pairs[0].signs[0] == Sign.NAME_AND_BIRTH
    [last] = duplicate_pairs(start=1, count=10)
    assert Sign.PHONE in last.signs
    Patient.objects.tell_apart(twins[0].pk, twins[1].pk)
    assert len(duplicate_pairs(start=0, count=10)) == 1
    told_apart = lookalikes_of(Patient.objects.get(pk=twins[1].pk))
    assert twins[0].pk not in {one.patient.pk for one in told_apart}


def test_registering_remembers_who_is_another_person(hospital):
    first = make_patient(hospital, name="Amara Diallo", birth_date=BORN)
    second = patient_create(
        hospital_id=hospital.pk,
        mrn="A-2",
        name="Amara Diallo",
        birth_date=BORN,
        not_same_as=[first.pk],
    )
    assert duplicate_pairs(start=0, count=10) == []
    assert Patient.objects.get(pk=first.pk).not_same_as == [second.pk]
