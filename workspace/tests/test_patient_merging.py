"""Merging takes a record's cases along, undoing brings them back, and neither is ever half done."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from pymongo.errors import OperationFailure

from accounts.audit import store
from accounts.audit.errors import AuditUnavailable
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from drservice.common.errors import ServiceFault
from drservice.embedded.mongodb_server import TRANSACTION_LIMIT_S
from workspace.models import Case, Patient, PatientMerge
from workspace.patients import merging
from workspace.patients.exporting import as_json, patient_document
from workspace.patients.merging import MergeRefused, merge_of, patient_merge, patient_unmerge
from workspace.patients.registering import patient_create, patient_update
from workspace.schemas import CaseState
from workspace.services import (
    CaseConflict,
    PatientGone,
    case_amend,
    case_claim,
    case_complete,
    case_create,
    case_submit,
)
from workspace.tests.factories import (
    make_case,
    make_graded_case,
    make_patient,
    make_queued_case,
    make_result,
)

pytestmark = pytest.mark.django_db(transaction=True)

WHY = {"by": "A nurse", "reason": "One person, registered twice"}
BOOKKEEPING = {"revision", "version", "history"}


@pytest.fixture
def hospital():
    hospital = make_hospital()
    with hospital_scope(hospital.pk):
        yield hospital


def stored(collection: str, hospital) -> dict:
    """Return what is stored, readable, without the numbers that count changes."""
    model = {"patient": Patient, "case": Case}[collection]
    fields = [field.attname for field in model._meta.concrete_fields]
    return {
        one.pk: {name: repr_of(one, name) for name in fields if name not in BOOKKEEPING}
        for one in model.objects.all()
    }


def repr_of(one, name: str):
    value = getattr(one, name)
    if name != "patient_copy":
        return str(value) if name in ("images", "outcome") else value
    return (value.mrn, value.name, value.birth_date, value.sex)


def patient_of(case: Case) -> Patient:
    return Patient.objects.get(pk=Case.objects.get(pk=case.pk).patient_id)


def test_merging_moves_cases_and_unmerging_restores_both_records(hospital):
    stays, goes = make_patient(hospital, phone="0795550102"), make_patient(hospital)
    ours, theirs, graded = make_case(stays), make_case(goes), make_graded_case(goes)
    patients, cases = stored("patient", hospital), stored("case", hospital)

    merge = patient_merge(survivor=stays, merged=goes, **WHY)

    assert {patient_of(case).pk for case in (ours, theirs, graded)} == {stays.pk}
    moved = Case.objects.get(pk=graded.pk)
    assert (moved.patient_copy.name, moved.patient_copy.mrn) == (stays.name, stays.mrn)
    assert moved.state == moved.history[-1].state == CaseState.GRADED
    assert moved.version == graded.version + 1
    assert "merged" in moved.history[-1].reason
    assert merge.case_ids == sorted((theirs.pk, graded.pk))
    assert (merge_of(goes.pk).merged_by, merge_of(goes.pk).reason) == tuple(WHY.values())
    made_since = make_case(stays)

    patient_unmerge(merged=goes, by="A colleague", reason="Two persons after all")

    assert stored("patient", hospital) == patients
    assert patient_of(made_since).pk == stays.pk
    after = stored("case", hospital)
    del after[made_since.pk]
    assert after == cases
    undone = PatientMerge.objects.get()
    assert (undone.undone_by, undone.undo_reason) == ("A colleague", "Two persons after all")


def test_trail_of_a_record_that_was_merged_by_mistake_does_not_name_the_other_person(hospital):
    ours = {"name": "Alma Aardvark", "mrn": "AA-1", "phone": "0795550111"}
    theirs = {"name": "Berta Bumblebee", "mrn": "BB-2", "phone": "0795550222"}
    stays, goes = make_patient(hospital, **ours), make_patient(hospital, **theirs)
    patient_merge(survivor=stays, merged=goes, **WHY)
    patient_unmerge(merged=goes, **WHY)
    for record, other, strangers in ((stays, goes, theirs), (goes, stays, ours)):
        told = as_json(patient_document(record)["audit"]).decode()
        assert str(other.pk) in told
        assert not [fact for fact in strangers.values() if fact in told]


def test_merged_record_takes_no_case_and_no_correction(hospital):
    stays, goes = make_patient(hospital), make_patient(hospital)
    patient_merge(survivor=stays, merged=goes, **WHY)
    with pytest.raises(PatientGone):
        case_create(patient=goes, by="A nurse")
    with pytest.raises(PatientGone):
        patient_update(patient=goes, name="Somebody")
    with pytest.raises(PatientGone):
        patient_merge(survivor=goes, merged=make_patient(hospital), **WHY)
    with pytest.raises(ValidationError):
        patient_create(
            hospital_id=hospital.pk, mrn=goes.mrn, name="New", birth_date=goes.birth_date
        )


def test_merge_refuses_what_can_not_be(hospital):
    patient = make_patient(hospital)
    with pytest.raises(MergeRefused):
        patient_merge(survivor=patient, merged=patient, **WHY)
    with pytest.raises(MergeRefused):
        patient_unmerge(merged=patient, **WHY)
    stranger = make_patient(make_hospital())
    with pytest.raises(PatientGone):
        patient_merge(survivor=patient, merged=stranger, **WHY)


def test_merges_on_merges_are_undone_in_reverse(hospital):
    first, second, third = (make_patient(hospital) for _ in range(3))
    case = make_case(first)
    patient_merge(survivor=second, merged=first, **WHY)
    patient_merge(survivor=third, merged=second, **WHY)
    assert patient_of(case).pk == third.pk
    with pytest.raises(MergeRefused, match="itself merged later"):
        patient_unmerge(merged=first, **WHY)
    patient_unmerge(merged=second, **WHY)
    assert patient_of(case).pk == second.pk
    patient_unmerge(merged=first, **WHY)
    assert patient_of(case).pk == first.pk
    patient_merge(survivor=second, merged=first, **WHY)
    assert patient_of(case).pk == second.pk


@pytest.mark.parametrize("undoing", [False, True])
def test_breaking_off_in_the_middle_changes_nothing(hospital, monkeypatch, undoing):
    stays, goes = make_patient(hospital), make_patient(hospital)
    make_case(stays), make_case(goes)
    act = partial(patient_merge, survivor=stays, merged=goes, **WHY)
    if undoing:
        act()
        act = partial(patient_unmerge, merged=goes, **WHY)
    before = stored("patient", hospital), stored("case", hospital), PatientMerge.objects.count()

    def break_off(*_, **__):
        raise RuntimeError("the process ends here")

    # The last step of both.
    monkeypatch.setattr(PatientMerge, "save", break_off)
    with pytest.raises(RuntimeError):
        act()

    after = stored("patient", hospital), stored("case", hospital), PatientMerge.objects.count()
    assert after == before


def at_once(hospital, *acts) -> list:
    """Run acts side by side, and return what each returned or what fault it met."""

    def run(act):
        try:
            with hospital_scope(hospital.pk):
                return act()
        except ServiceFault as fault:
            return fault
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=len(acts)) as pool:
        return list(pool.map(run, acts))


@pytest.mark.parametrize("other_way_round", [False, True])
def test_of_two_merges_of_one_pair_at_once_one_happens(hospital, other_way_round):
    for _ in range(5):
        one, other = make_patient(hospital), make_patient(hospital)
        cases = [make_case(one), make_case(other)]
        second = {"survivor": other, "merged": one}
        pairs = [{"survivor": one, "merged": other}]
        pairs.append(second if other_way_round else pairs[0])

        found = at_once(hospital, *(lambda p=pair: patient_merge(**p, **WHY) for pair in pairs))

        assert sorted(type(each).__name__ for each in found) == ["PatientGone", "PatientMerge"]
        [merge] = [each for each in found if isinstance(each, PatientMerge)]
        assert {patient_of(case).pk for case in cases} == {merge.survivor_id}


def test_a_case_started_during_a_merge_is_never_left_behind(hospital):
    for _ in range(8):
        stays, goes = make_patient(hospital), make_patient(hospital)
        merge, case = at_once(
            hospital,
            lambda s=stays, g=goes: patient_merge(survivor=s, merged=g, **WHY),
            lambda g=goes: case_create(patient=g, by="A nurse"),
        )
        assert isinstance(merge, PatientMerge)
        if isinstance(case, Case):
            assert patient_of(case).pk == stays.pk
            assert merge.case_ids == [case.pk]
        else:
            assert isinstance(case, PatientGone)


def test_a_case_submitted_during_a_merge_is_either_queued_or_told_so(hospital):
    for _ in range(8):
        stays, goes = make_patient(hospital), make_patient(hospital)
        case = make_case(goes)
        merge, submitted = at_once(
            hospital,
            lambda s=stays, g=goes: patient_merge(survivor=s, merged=g, **WHY),
            lambda c=case: case_submit(case=c, by="A nurse"),
        )
        assert isinstance(merge, PatientMerge)
        now = Case.objects.get(pk=case.pk)
        assert now.patient_id == stays.pk
        assert now.patient_copy.mrn == stays.mrn
        assert (now.state == CaseState.QUEUED) == isinstance(submitted, Case)
        assert isinstance(submitted, Case | CaseConflict)


def test_a_worker_at_a_moving_case_still_writes_its_result(hospital):
    stays, goes = make_patient(hospital), make_patient(hospital)
    claimed = case_claim(case_pk=str(make_queued_case(goes).pk), worker="test")
    patient_merge(survivor=stays, merged=goes, **WHY)
    assert case_complete(case=claimed, results=[make_result(one) for one in claimed.images])
    now = Case.objects.get(pk=claimed.pk)
    assert (now.state, now.patient_id) == (CaseState.GRADED, stays.pk)


def test_a_page_opened_before_a_merge_does_not_overwrite_after_it(hospital):
    stays, goes = make_patient(hospital), make_patient(hospital)
    case = make_case(goes)
    patient_merge(survivor=stays, merged=goes, **WHY)
    with pytest.raises(CaseConflict):
        case_amend(case=case, version=case.version, values={"camera": "X"})


def test_merging_announces_the_cases_that_moved(hospital, monkeypatch):
    announced = []
    monkeypatch.setattr(merging, "case_announce", lambda case: announced.append(case.pk))
    stays, goes = make_patient(hospital), make_patient(hospital)
    case = make_case(goes)
    patient_merge(survivor=stays, merged=goes, **WHY)
    assert announced == [case.pk]


KILLED_WHILE_MERGING = """
import os
import django
django.setup()
from bson import ObjectId
from accounts.scoping import hospital_scope
from workspace.models import Patient, PatientMerge
from workspace.patients.merging import patient_merge

PatientMerge.save = lambda *_, **__: os.kill(os.getpid(), 9)
with hospital_scope(ObjectId("{hospital}")):
    stays, goes = (Patient.objects.get(pk=ObjectId(pk)) for pk in ("{stays}", "{goes}"))
    patient_merge(survivor=stays, merged=goes, by="A nurse", reason="One person")
"""


def merged_in_time(stays: Patient, goes: Patient, limit_s: float) -> PatientMerge:
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return patient_merge(survivor=stays, merged=goes, **WHY)
        except AuditUnavailable:
            assert time.monotonic() < deadline


@contextmanager
def transactions_end_after(seconds: int) -> Iterator[None]:
    """Let the server keep transactions that nobody ends for seconds only, so that a test is quick.

    And see that it kept them no longer than it should until now.
    """
    admin, name = connection.database.client.admin, "transactionLifetimeLimitSeconds"
    assert admin.command({"getParameter": 1, name: 1})[name] == TRANSACTION_LIMIT_S
    admin.command({"setParameter": 1, name: seconds})
    try:
        yield
    finally:
        admin.command({"setParameter": 1, name: TRANSACTION_LIMIT_S})


@pytest.mark.processes
def test_a_process_killed_while_merging_has_changed_nothing(hospital, process_environment):
    stays, goes = make_patient(hospital), make_patient(hospital)
    make_case(goes)
    before = stored("patient", hospital), stored("case", hospital)
    told = {"hospital": hospital.pk, "stays": stays.pk, "goes": goes.pk}

    with transactions_end_after(3):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED_WHILE_MERGING.format(**told)],
            env=process_environment,
            check=False,
            capture_output=True,
        )

        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert (stored("patient", hospital), stored("case", hospital)) == before
        # The server lets go of what the killed one had locked, and looks for such every second.
        assert merged_in_time(stays, goes, 3 * TRANSACTION_LIMIT_S).case_ids


@pytest.mark.parametrize("undoing", [False, True])
def test_nothing_is_merged_or_unmerged_without_its_audit_event(hospital, monkeypatch, undoing):
    stays, goes = make_patient(hospital), make_patient(hospital)
    make_case(goes)
    act = partial(patient_merge, survivor=stays, merged=goes, **WHY)
    if undoing:
        act()
        act = partial(patient_unmerge, merged=goes, **WHY)
    before = stored("patient", hospital), stored("case", hospital)

    def refuse(*_):
        raise OperationFailure("no room left")

    monkeypatch.setattr(store, "event_insert", refuse)
    with pytest.raises(AuditUnavailable):
        act()
    assert (stored("patient", hospital), stored("case", hospital)) == before
