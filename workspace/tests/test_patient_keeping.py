"""How long records are kept, and that a hold keeps them longer."""

import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from workspace.models import Case, Patient, RetentionPolicy
from workspace.patients.keeping import (
    hospital_hold,
    hospital_release,
    last_visit,
    patient_hold,
    patient_release,
    records_due,
    retention_policy,
    retention_policy_change,
    why_kept,
)
from workspace.patients.merging import patient_merge
from workspace.services import case_cancel
from workspace.tests.factories import make_case, make_patient

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now().replace(microsecond=0)


@pytest.fixture
def hospital():
    hospital = make_hospital()
    with hospital_scope(hospital.pk):
        yield hospital


def years_ago(years: float) -> dt.datetime:
    return NOW - dt.timedelta(days=365.25 * years)


def patient_of_old(hospital, *, registered: float, visited: float | None = None) -> Patient:
    """Return a patient registered, and last seen, so many years ago."""
    patient = make_patient(hospital)
    Patient.objects.filter(pk=patient.pk).update(created_at=years_ago(registered))
    if visited is not None:
        case = make_case(patient)
        Case.objects.filter(pk=case.pk).update(created_at=years_ago(visited))
    return Patient.objects.get(pk=patient.pk)


def keep(hospital, years: int | None, **fields) -> RetentionPolicy:
    return retention_policy_change(
        hospital_id=hospital.pk, keep_years=years, **{"erase_when_due": False, **fields}
    )


def due(hospital) -> set:
    found = records_due(retention_policy(hospital.pk), NOW)
    return {record.patient.pk for record in found}


def test_without_a_policy_nothing_falls_due_and_nothing_but_people_keeps(hospital):
    patient = patient_of_old(hospital, registered=90, visited=80)
    assert due(hospital) == set()
    assert why_kept(patient) == ""


def test_records_fall_due_after_the_last_visit(hospital):
    long_gone = patient_of_old(hospital, registered=20, visited=11)
    patient_of_old(hospital, registered=20, visited=9)
    never_came = patient_of_old(hospital, registered=11)
    patient_of_old(hospital, registered=9)
    keep(hospital, 10)
    assert due(hospital) == {long_gone.pk, never_came.pk}
    [found] = [
        one for one in records_due(retention_policy(hospital.pk), NOW) if one.last_visit is not None
    ]
    assert found.last_visit == last_visit(long_gone)


def test_cancelled_visit_prolongs_nothing(hospital):
    patient = patient_of_old(hospital, registered=20, visited=11)
    case_cancel(case=make_case(patient), by="A nurse", reason="Wrong patient")
    keep(hospital, 10)
    assert due(hospital) == {patient.pk}
    assert why_kept(patient) == ""


def test_running_period_keeps_a_record_and_says_until_when(hospital):
    patient = patient_of_old(hospital, registered=20, visited=1)
    never_came = patient_of_old(hospital, registered=0)
    keep(hospital, 10)
    assert str(NOW.year + 9) in why_kept(patient)
    assert why_kept(never_came) == ""


def test_period_from_a_leap_day_ends_on_the_first_of_march(hospital):
    patient = make_patient(hospital)
    leap_day = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
    Case.objects.filter(pk=make_case(patient).pk).update(created_at=leap_day)
    keep(hospital, 99)
    assert "1 Mar 2123" in why_kept(patient)


def test_hold_on_a_record_keeps_it(hospital):
    patient = patient_of_old(hospital, registered=20, visited=11)
    keep(hospital, 10)
    held = patient_hold(patient=patient, by="A nurse", reason="Court file 12")
    assert (held.held, held.hold_reason, held.held_by) == (True, "Court file 12", "A nurse")
    assert "legal hold" in why_kept(held)
    assert due(hospital) == set()
    patient_release(patient=held)
    assert due(hospital) == {patient.pk}
    assert Patient.objects.get(pk=patient.pk).hold_reason == ""


def test_hold_on_a_merged_record_keeps_its_survivor(hospital):
    stays = patient_of_old(hospital, registered=20, visited=11)
    goes = patient_of_old(hospital, registered=20)
    keep(hospital, 10)
    patient_hold(patient=goes, by="A nurse", reason="Court file 12")
    patient_merge(survivor=stays, merged=goes, by="A nurse", reason="One person")
    assert due(hospital) == set()
    assert "legal hold" in why_kept(stays)


def test_hold_on_the_hospital_keeps_everything_there_and_nothing_elsewhere(hospital):
    patient = patient_of_old(hospital, registered=20, visited=11)
    keep(hospital, 10)
    policy = hospital_hold(hospital_id=hospital.pk, by="An admin", reason="Investigation")
    assert (policy.held, policy.hold_reason) == (True, "Investigation")
    assert due(hospital) == set()
    assert "All records of the hospital" in why_kept(patient)
    other = make_hospital()
    with hospital_scope(other.pk):
        assert why_kept(make_patient(other)) == ""
    hospital_release(hospital_id=hospital.pk)
    assert due(hospital) == {patient.pk}
    assert retention_policy(hospital.pk).keep_years == 10


def test_erasing_by_itself_needs_a_number_of_years(hospital):
    with pytest.raises(ValidationError):
        keep(hospital, None, erase_when_due=True)
    assert RetentionPolicy.objects.count() == 0
    assert keep(hospital, 10, erase_when_due=True).erase_when_due
    keep(hospital, None)
    assert RetentionPolicy.objects.get().keep_years is None
