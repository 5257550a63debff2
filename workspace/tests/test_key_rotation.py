"""A hospital's key is rotated while people work, and destroyed: what can be read then."""

import threading

import pytest
from bson import Binary
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from accounts import key_services
from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent
from accounts.audit.selectors import events_told
from accounts.audit.verification import chain_check
from accounts.key_services import hospital_key_destroy, hospital_key_rotate, hospital_reseal
from accounts.keys import resealing
from accounts.keys.errors import KeyDestroyed
from accounts.keys.key_ring import HOSPITAL_KEYS, forget_keys
from accounts.keys.resealing import records_reseal, sealed_models
from accounts.keys.sealing import UNREADABLE, sealed_with
from accounts.keys.services import key_state
from accounts.scoping import every_hospital, hospital_scope
from accounts.tests.factories import make_hospital
from workspace.models import Case, Patient
from workspace.patients.registering import patient_create, patient_update
from workspace.selectors import patient_by_mrn, patient_list
from workspace.tests.factories import make_case, make_patient

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(key_services, "SETTLED_AFTER_S", 0.0)


def versions(hospital) -> set[int]:
    """Return the key versions of every sealed value in a hospital's patients and cases."""
    mine = {"hospital_id": hospital.pk}
    patients = list(connection.database.workspace_patient.find(mine))
    cases = list(connection.database.workspace_case.find(mine))
    values = [one[name] for one in patients for name in ("mrn", "name", "phone", "email")]
    values += [one["notes"] for one in cases]
    values += [one["patient_copy"][name] for one in cases for name in ("mrn", "name")]
    return {sealed_with(value)[1] for value in values if value}


def events(action: Action) -> list[AuditEvent]:
    with every_hospital("a test"):
        return list(AuditEvent.objects.filter(action=action))


def test_rotated_key_seals_everything_anew_and_search_goes_on(capsys):
    hospital, other = make_hospital("Lake Clinic"), make_hospital()
    patients = [make_patient(hospital, phone="1 2 3", email="a@b.example") for _ in range(7)]
    case = make_case(patients[0], notes="A note")
    theirs = make_patient(other)
    stored = connection.database.workspace_case.find_one({"_id": case.pk})

    call_command("rotate_hospital_key", "Lake Clinic")

    out = capsys.readouterr().out
    assert "Version 2 of the key" in out
    assert "8 records were sealed anew; none has an older key" in out
    assert versions(hospital) == {2}
    assert versions(other) == {1}
    again = connection.database.workspace_case.find_one({"_id": case.pk})
    sealed = {"notes", "patient_copy"}
    assert {key: value for key, value in again.items() if key not in sealed} == {
        key: value for key, value in stored.items() if key not in sealed
    }
    with hospital_scope(hospital.pk):
        assert Case.objects.get().notes == "A note"
        assert Case.objects.get().patient_copy.name == patients[0].name
        assert patient_by_mrn(patients[3].mrn).name == patients[3].name
        assert len(patient_list(search="patient", start=0, count=9)) == 7
        assert patient_create(
            hospital_id=hospital.pk, mrn="N-2", name="New", birth_date="1960-01-01"
        )
    assert versions(hospital) == {2}
    with hospital_scope(other.pk):
        assert Patient.objects.get().name == theirs.name
    [event] = events(Action.KEY_ROTATE)
    assert (event.hospital_id, event.subject_id) == (hospital.pk, str(hospital.pk))

    call_command("rotate_hospital_key", "Lake Clinic")
    assert versions(hospital) == {3}


def test_rotation_that_broke_off_goes_on_with_the_same_key(monkeypatch, capsys):
    hospital = make_hospital("Lake Clinic")
    for _ in range(5):
        make_patient(hospital)
    monkeypatch.setattr(resealing, "BATCH", 2)
    update, calls = resealing._update, []

    def break_off(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise RuntimeError("the process ends here")
        return update(*arguments)

    monkeypatch.setattr(resealing, "_update", break_off)
    with pytest.raises(RuntimeError):
        call_command("rotate_hospital_key", "Lake Clinic")
    assert versions(hospital) == {1, 2}
    with hospital_scope(hospital.pk):
        assert all(one.name.startswith("Patient") for one in Patient.objects.all())

    call_command("rotate_hospital_key", "Lake Clinic")
    assert "Version 2 of the key" in capsys.readouterr().out
    assert versions(hospital) == {2}
    assert key_state(hospital.pk).all_resealed


def test_change_that_somebody_makes_meanwhile_wins():
    """A record is read, somebody saves it, and it would be sealed anew: it is left alone."""
    hospital = make_hospital()
    patient = make_patient(hospital, name="Before")
    hospital_key_rotate(hospital=hospital)
    find = resealing._older

    def meanwhile(*arguments):
        found = find(*arguments)
        if found and not changed:
            changed.append(True)
            with hospital_scope(hospital.pk):
                patient_update(patient=patient, name="After")
        return found

    changed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resealing, "_older", meanwhile)
        done = records_reseal(hospital.pk, 2)
    assert (done.changed, done.left) == (0, 1)
    with hospital_scope(hospital.pk):
        assert Patient.objects.get().name == "After"
    hospital_reseal(hospital=hospital)
    assert versions(hospital) == {2}


def test_people_work_while_the_key_is_rotated():
    hospital = make_hospital()
    patients = [make_patient(hospital) for _ in range(30)]
    ended, failures = threading.Event(), []

    def work() -> None:
        number = 0
        try:
            while not ended.is_set():
                number += 1
                patient = patients[number % len(patients)]
                with hospital_scope(hospital.pk):
                    fresh = Patient.objects.get(pk=patient.pk)
                    patient_update(patient=fresh, phone=f"{number}")
                    assert Patient.objects.get(pk=patient.pk).name == patient.name
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    people = [threading.Thread(target=work) for _ in range(2)]
    for one in people:
        one.start()
    for _ in range(3):
        hospital_key_rotate(hospital=hospital)
        hospital_reseal(hospital=hospital)
    ended.set()
    for one in people:
        one.join()
    assert failures == []
    hospital_reseal(hospital=hospital)
    assert versions(hospital) == {4}
    with hospital_scope(hospital.pk):
        assert {one.name for one in Patient.objects.all()} == {one.name for one in patients}


def test_damaged_value_is_named_and_stops_no_other(caplog):
    hospital = make_hospital("Lake Clinic")
    damaged, whole = make_patient(hospital), make_patient(hospital)
    patients = connection.database.workspace_patient
    stored = patients.find_one({"_id": damaged.pk})
    patients.update_one({"_id": damaged.pk}, {"$set": {"name": Binary(stored["name"][:-1] + b"x")}})
    with pytest.raises(CommandError, match="Restore|restore what is damaged"):
        call_command("rotate_hospital_key", "Lake Clinic")
    assert f"reseal_failed model=workspace.Patient pk={damaged.pk}" in caplog.text
    assert sealed_with(patients.find_one({"_id": whole.pk})["name"])[1] == 2


def test_models_with_sealed_fields_are_found():
    assert {Patient, Case} <= set(sealed_models())


def test_key_is_destroyed_only_when_its_name_is_said_twice(capsys):
    hospital = make_hospital("Lake Clinic")
    patient = make_patient(hospital)
    with pytest.raises(CommandError, match=r"Nothing was destroyed.*'Lake Clinic'"):
        call_command("hospital_key_destroy", "Lake Clinic", confirm="lake clinic")
    with pytest.raises(CommandError, match="There is no hospital with this name"):
        call_command("hospital_key_destroy", "Lake", confirm="Lake")
    with pytest.raises(CommandError, match=r"Nothing was destroyed: say why"):
        call_command("hospital_key_destroy", "Lake Clinic", confirm="Lake Clinic", reason=" ")
    with hospital_scope(hospital.pk):
        assert Patient.objects.get(pk=patient.pk).name == patient.name
    assert events(Action.KEY_DESTROY) == []

    words = {"confirm": "Lake Clinic", "reason": "The contract has ended"}
    call_command("hospital_key_destroy", "Lake Clinic", **words)
    assert "within 5 seconds" in capsys.readouterr().out
    with hospital_scope(hospital.pk):
        assert Patient.objects.get(pk=patient.pk).name == UNREADABLE
    assert {event.hospital_id for event in events(Action.KEY_DESTROY)} == {hospital.pk, None}
    for command in (
        lambda: call_command("hospital_key_destroy", "Lake Clinic", **words),
        lambda: call_command("rotate_hospital_key", "Lake Clinic"),
    ):
        with pytest.raises(CommandError, match="has been destroyed"):
            command()


def test_destroyed_key_leaves_nothing_of_itself_in_the_database():
    hospital = make_hospital()
    make_patient(hospital)
    hospital_key_rotate(hospital=hospital)
    hospital_key_destroy(hospital=hospital, reason="")
    stored = connection.database[HOSPITAL_KEYS].find_one({"hospital_id": hospital.pk})
    assert [version["wrapped"] for version in stored["versions"]] == [b"", b""]
    assert stored["destroyed_at"] is not None


def test_key_of_a_hospital_that_never_used_one_can_be_destroyed():
    hospital = make_hospital()
    hospital_key_destroy(hospital=hospital, reason="")
    with hospital_scope(hospital.pk), pytest.raises(KeyDestroyed):
        patient_by_mrn("N-1")


def test_destruction_that_the_audit_can_not_keep_does_not_happen(monkeypatch):
    hospital = make_hospital()
    patient = make_patient(hospital)

    def refuse(**_):
        raise RuntimeError("no event can be kept")

    monkeypatch.setattr(key_services, "audit_record", refuse)
    with pytest.raises(RuntimeError):
        hospital_key_destroy(hospital=hospital, reason="")
    forget_keys()
    with hospital_scope(hospital.pk):
        assert Patient.objects.get(pk=patient.pk).name == patient.name


def test_audit_still_verifies_after_the_key_is_destroyed():
    hospital = make_hospital()
    with hospital_scope(hospital.pk):
        patient = patient_create(
            hospital_id=hospital.pk, mrn="N-1", name="Ada", birth_date="1960-01-01"
        )
        patient_update(patient=patient, name="Ada Lovelace")
    hospital_key_destroy(hospital=hospital, reason="The contract has ended")

    for owner, events in ((hospital.pk, 3), (None, 1)):
        verdict = chain_check(owner)
        assert (verdict.fault, verdict.events) == (None, events)
    told = told_of(hospital.pk)
    assert [one.event.action for one in told] == ["create", "change", "key_destroy"]
    assert "Ada" not in str(told)
    [platform] = told_of(None)
    assert platform.reason == "The contract has ended"


def told_of(hospital_id) -> list:
    with every_hospital("a test"):
        found = AuditEvent.objects.filter(hospital_id=hospital_id).order_by("seq")
        return events_told(list(found), hospital_id=hospital_id)
