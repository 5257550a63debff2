"""Erasing takes two people, respects holds and periods, and is finished after a kill."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
from bson import ObjectId
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone

from accounts.models import User
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital, make_user
from drservice.common.errors import ServiceFault
from workspace.models import Case, Erasure, Patient, PatientMerge
from workspace.patients import erasing
from workspace.patients.erasing import (
    ErasureRefused,
    erasure_ask,
    erasure_by_rule,
    erasure_confirm,
    erasure_decline,
    erasure_open,
    erasure_withdraw,
    erasures_finish,
    settled_after,
)
from workspace.patients.keeping import RecordKept, patient_hold, retention_policy_change
from workspace.patients.merging import patient_merge
from workspace.schemas import ErasureReason, ErasureState
from workspace.services import PatientGone, case_claim, case_complete, case_create
from workspace.tests.factories import make_case, make_patient, make_queued_case, make_result

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hospital():
    hospital = make_hospital()
    with hospital_scope(hospital.pk):
        yield hospital


@pytest.fixture
def nurse(db) -> User:
    return make_user()


@pytest.fixture
def admin(db) -> User:
    return make_user()


def ask(patient: Patient, nurse: User) -> Erasure:
    return erasure_ask(patient=patient, by=nurse, reason=ErasureReason.WISH)


def confirm(erasure: Erasure, admin: User) -> Erasure:
    return erasure_confirm(erasure=erasure, by=admin, reference=erasure.reference.lower())


def stored_files(case: Case) -> list[str]:
    folder = f"{case.hospital_id}/{case.pk}"
    names = [f"{folder}/{name}" for name in ("k1/original", "k1/heatmap-1", "k2/display")]
    for name in names:
        default_storage.save(name, ContentFile(b"pixels"))
    return names


def left(names: list[str]) -> list[str]:
    return [name for name in names if default_storage.exists(name)]


def test_confirmed_erasure_takes_records_files_and_what_was_merged(hospital, nurse, admin):
    patient, merged, bystander = (make_patient(hospital) for _ in range(3))
    ours, theirs, other = make_case(patient), make_case(merged), make_case(bystander)
    names, kept = stored_files(ours) + stored_files(theirs), stored_files(other)
    patient_merge(survivor=patient, merged=merged, by="A nurse", reason="One person")
    Patient.objects.tell_apart(patient.pk, bystander.pk)
    erasure = ask(patient, nurse)
    assert erasure_open(patient).pk == ask(patient, nurse).pk == erasure.pk

    erased = confirm(erasure, admin)

    assert [one.pk for one in Patient.objects.all()] == [bystander.pk]
    assert Patient.objects.get().not_same_as == []
    assert [one.pk for one in Case.objects.all()] == [other.pk]
    assert PatientMerge.objects.count() == 0
    assert left(names) == []
    assert left(kept) == kept
    assert (erased.state, erased.decided_by) == (ErasureState.ERASED, admin.name)


def test_nobody_confirms_what_they_asked_for_or_without_its_reference(hospital, nurse, admin):
    erasure = ask(make_patient(hospital), nurse)
    with pytest.raises(ErasureRefused, match="Somebody else"):
        confirm(erasure, nurse)
    with pytest.raises(ErasureRefused, match="not the reference"):
        erasure_confirm(erasure=erasure, by=admin, reference="000000")
    assert Patient.objects.count() == 1
    confirm(erasure, admin)
    with pytest.raises(ErasureRefused, match="decided already"):
        confirm(erasure, admin)


def test_declined_and_withdrawn_erasures_erase_nothing(hospital, nurse, admin):
    patient = make_patient(hospital)
    declined = ask(patient, nurse)
    erasure_decline(erasure=declined, by=admin)
    with pytest.raises(ErasureRefused):
        erasure_decline(erasure=declined, by=admin)
    withdrawn = ask(patient, nurse)
    erasure_withdraw(patient=patient, by=nurse)
    for erasure in (declined, withdrawn):
        with pytest.raises(ErasureRefused, match="decided already"):
            confirm(erasure, admin)
    assert erasure_open(patient) is None
    assert Patient.objects.count() == 1


def test_hold_and_running_period_refuse_asking_and_confirming(hospital, nurse, admin):
    patient = make_patient(hospital)
    make_case(patient)
    erasure = ask(patient, nurse)
    patient_hold(patient=patient, by="A nurse", reason="Court file 12")
    with pytest.raises(RecordKept, match="legal hold"):
        confirm(erasure, admin)
    with pytest.raises(RecordKept, match="legal hold"):
        ask(patient, nurse)
    other = make_patient(hospital)
    make_case(other)
    asked_before = ask(other, nurse)
    retention_policy_change(hospital_id=hospital.pk, keep_years=10, erase_when_due=False)
    with pytest.raises(RecordKept, match="retention period"):
        confirm(asked_before, admin)
    with pytest.raises(RecordKept):
        erasure_by_rule(patient=other)
    assert Patient.objects.count() == 2
    assert Erasure.objects.filter(reason=ErasureReason.KEPT_LONG_ENOUGH).count() == 0


def test_merged_record_is_not_erased_on_its_own(hospital, nurse, admin):
    stays, goes = make_patient(hospital), make_patient(hospital)
    erasure = ask(goes, nurse)
    patient_merge(survivor=stays, merged=goes, by="A nurse", reason="One person")
    with pytest.raises(ErasureRefused, match="merged"):
        confirm(erasure, admin)
    with pytest.raises(PatientGone):
        ask(goes, nurse)


def test_rule_erases_without_a_second_person(hospital):
    patient = make_patient(hospital)
    erased = erasure_by_rule(patient=patient)
    assert (erased.state, erased.asked_by_id) == (ErasureState.ERASED, "")
    assert Patient.objects.count() == 0


def test_breaking_off_before_the_end_of_the_transaction_erases_nothing(
    hospital, nurse, admin, monkeypatch
):
    patient = make_patient(hospital)
    names = stored_files(make_case(patient))
    erasure = ask(patient, nurse)

    def break_off(*_, **__):
        raise RuntimeError("the process ends here")

    monkeypatch.setattr(Erasure, "save", break_off)
    with pytest.raises(RuntimeError):
        confirm(erasure, admin)
    assert (Patient.objects.count(), Case.objects.count()) == (1, 1)
    assert left(names) == names


def test_breaking_off_before_the_files_is_made_good_by_the_sweep(
    hospital, nurse, admin, monkeypatch
):
    case = make_case(make_patient(hospital))
    names = stored_files(case)
    erasure = ask(Patient.objects.get(), nurse)

    def break_off(*_, **__):
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as patch:
        patch.setattr(erasing, "folder_delete", break_off)
        with pytest.raises(RuntimeError):
            confirm(erasure, admin)
    assert Patient.objects.count() == 0
    assert left(names) == names

    assert erasures_finish() == 1
    assert left(names) == []


def test_file_that_a_dying_worker_left_behind_is_found_by_a_second_look(hospital, nurse, admin):
    case = make_case(make_patient(hospital))
    erasure = confirm(ask(Patient.objects.get(), nurse), admin)
    assert erasure.files_gone_at is None
    late = f"{case.hospital_id}/{case.pk}/k1/heatmap-1"
    default_storage.save(late, ContentFile(b"pixels"))
    long_ago = timezone.now() - settled_after() - dt.timedelta(seconds=1)
    Erasure.objects.filter(pk=erasure.pk).update(decided_at=long_ago)

    assert erasures_finish() == 1

    assert left([late]) == []
    assert Erasure.objects.get().files_gone_at is not None
    assert erasures_finish() == 0


def test_worker_at_an_erased_case_writes_nothing(hospital, nurse, admin):
    patient = make_patient(hospital)
    claimed = case_claim(case_pk=str(make_queued_case(patient).pk), worker="test")
    confirm(ask(patient, nurse), admin)
    assert case_complete(case=claimed, results=[make_result(i) for i in claimed.images]) is None
    assert Case.objects.count() == 0


def test_case_started_during_an_erasure_is_erased_or_refused(hospital, nurse, admin):
    def run(act):
        try:
            with hospital_scope(hospital.pk):
                return act()
        except ServiceFault as fault:
            return fault
        finally:
            connection.close()

    for _ in range(8):
        patient = make_patient(hospital)
        erasure = ask(patient, nurse)
        with ThreadPoolExecutor(max_workers=2) as pool:
            erased, case = pool.map(
                run,
                (
                    lambda e=erasure: confirm(e, admin),
                    lambda p=patient: case_create(patient=p, by="A nurse"),
                ),
            )
        assert erased.state == ErasureState.ERASED
        assert isinstance(case, Case | PatientGone)
        assert Case.objects.count() == 0


def test_erasure_of_another_hospital_is_out_of_reach(hospital, nurse):
    elsewhere = make_hospital()
    with hospital_scope(elsewhere.pk):
        ask(make_patient(elsewhere), nurse)
    assert Erasure.objects.count() == 0
    assert erasures_finish() == 0
    assert erasure_open(Patient(pk=ObjectId())) is None
