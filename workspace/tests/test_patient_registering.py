"""One record number, one patient; and a correction reaches every case."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from workspace.models import Case, Patient
from workspace.patients.registering import patient_create, patient_update
from workspace.selectors import patient_by_mrn, patient_list
from workspace.services import case_create
from workspace.tests.factories import make_patient

pytestmark = pytest.mark.django_db(transaction=True)

BORN = dt.date(1960, 5, 1)


def register(hospital, mrn: str) -> Patient | None:
    try:
        with hospital_scope(hospital.pk):
            return patient_create(
                hospital_id=hospital.pk, mrn=mrn, name="Somebody", birth_date=BORN
            )
    except ValidationError:
        return None
    finally:
        connection.close()


def test_fifty_parallel_registrations_of_one_number_make_one_patient():
    hospital, other = make_hospital(), make_hospital()

    with ThreadPoolExecutor(max_workers=16) as pool:
        patients = list(pool.map(lambda _: register(hospital, "N-1"), range(50)))

    assert len([patient for patient in patients if patient is not None]) == 1
    with hospital_scope(hospital.pk):
        assert Patient.objects.count() == 1
    assert register(other, "N-1") is not None
    # The same number in other clothes is the same number.
    for same in ("  N-1 ", "N-1\u200b", "\u202aN\u00ad-1"):
        assert register(hospital, same) is None, same


def test_patient_is_named_by_what_people_see():
    hospital = make_hospital()
    with hospital_scope(hospital.pk):
        born = {"hospital_id": hospital.pk, "birth_date": BORN}
        patient = patient_create(mrn="N\u200b-2", name="\u202eaziL Obrecht", **born)
        assert (patient.mrn, patient.name) == ("N-2", "aziL Obrecht")
        for unseen in ({"mrn": "N-3", "name": "\u200b\ufeff"}, {"mrn": "\u2066", "name": "Liza"}):
            with pytest.raises(ValidationError, match="can be seen"):
                patient_create(**unseen, **born)


def test_patient_update_reaches_the_cases_of_this_patient_alone():
    hospital = make_hospital()
    patient, bystander = make_patient(hospital), make_patient(hospital)
    with hospital_scope(hospital.pk):
        case, other = (case_create(patient=one, by="A nurse") for one in (patient, bystander))

        patient_update(patient=patient, name="  Corrected   Name ", mrn="N-2")

        copy = Case.objects.get(pk=case.pk).patient_copy
        assert (copy.name, copy.mrn) == ("Corrected Name", "N-2")
        assert Case.objects.get(pk=other.pk).patient_copy.name == bystander.name
        assert patient_by_mrn("n-2").pk == patient.pk
        assert patient_list(search="corr", start=0, count=2) == [patient]
        with pytest.raises(ValidationError) as refusal:
            patient_update(patient=patient, mrn=bystander.mrn)
        assert "registered already" in str(refusal.value)


def test_patient_update_that_breaks_off_changes_neither_patient_nor_cases(monkeypatch):
    hospital = make_hospital()
    patient = make_patient(hospital, name="Old Name")
    with hospital_scope(hospital.pk):
        case = case_create(patient=patient, by="A nurse")

        def break_off(**_):
            raise RuntimeError("the process ends here")

        monkeypatch.setattr(Case.objects, "refresh_patient_copy", break_off)
        with pytest.raises(RuntimeError):
            patient_update(patient=patient, name="New Name")

        assert Patient.objects.get(pk=patient.pk).name == "Old Name"
        assert Case.objects.get(pk=case.pk).patient_copy.name == "Old Name"


def test_patient_updates_at_once_leave_cases_equal_to_the_patient():
    hospital = make_hospital()
    patient = make_patient(hospital)
    with hospital_scope(hospital.pk):
        case = case_create(patient=patient, by="A nurse")

    def correct(number: int) -> None:
        with hospital_scope(hospital.pk):
            patient_update(patient=Patient.objects.get(pk=patient.pk), name=f"Name {number}")
        connection.close()

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(correct, range(24)))

    with hospital_scope(hospital.pk):
        stored = Patient.objects.get(pk=patient.pk).name
        assert stored.startswith("Name ")
        assert Case.objects.get(pk=case.pk).patient_copy.name == stored
