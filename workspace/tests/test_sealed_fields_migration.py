"""Databases of before, with names in plain text: sealed by the migration, and back."""

import datetime as dt

import pytest
from bson import ObjectId
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from accounts.keys.key_ring import forget_keys
from accounts.scoping import hospital_scope
from accounts.tests.factories import make_hospital
from workspace.models import Case, Patient
from workspace.patients.duplicates import lookalikes_of
from workspace.selectors import patient_by_mrn, patient_list

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = [("workspace", "0003_likeliest_grades")]
DAY = dt.datetime(2026, 1, 1)  # noqa: DTZ001


@pytest.fixture
def migrate():
    """Return a function that moves the database to a state; at the end it is the newest."""
    yield lambda targets: MigrationExecutor(connection).migrate(targets)
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def newest() -> list:
    return list(MigrationExecutor(connection).loader.graph.leaf_nodes())


def old_patient(hospital_id: ObjectId, mrn: str, name: str, **fields) -> dict:
    return {
        "_id": ObjectId(),
        "hospital_id": hospital_id,
        "mrn": mrn,
        "name": name,
        "search_text": f"{name} {mrn}".casefold(),
        "birth_date": DAY,
        "sex": "F",
        "diabetes_type": "2",
        "diabetes_since_year": None,
        "phone": "",
        "email": "",
        "consent_messages": False,
        "consent_training": False,
        "created_at": DAY,
        **fields,
    }


def old_step(by: str, reason: str) -> dict:
    return {"at": DAY, "state": "cancelled", "by": by, "reason": reason}


def old_case(patient: dict, notes: str, history: tuple = (), **fields) -> dict:
    copy = {key: patient[key] for key in ("mrn", "name", "birth_date", "sex")}
    return {
        "_id": ObjectId(),
        "hospital_id": patient["hospital_id"],
        "patient_id": patient["_id"],
        "patient_copy": copy,
        "state": "draft",
        "images": [],
        "outcome": None,
        "history": list(history),
        "notes": notes,
        "version": 3,
        "created_at": DAY,
        **fields,
    }


@pytest.fixture
def old_records(migrate) -> tuple[list[dict], list[dict]]:
    """Write patients and cases of two hospitals as the version before wrote them."""
    a, b = make_hospital().pk, make_hospital().pk
    migrate(BEFORE)
    patients = [
        old_patient(a, "N-1", "Amara Diallo", phone="+44 20 7946 0000", email="amara@x.example"),
        old_patient(a, "n-1", "Bela Novak"),
        old_patient(b, "N-1", "Carla Weiss"),
        *[old_patient(b, f"B-{number}", f"Somebody {number}") for number in range(600)],
    ]
    lost = old_step("grading worker", "The grading worker was lost")
    wrong = old_step("A nurse", "These are the eyes of Bela Novak")
    cases = [
        old_case(
            patients[0],
            "Amara is afraid of the light",
            (lost, wrong, old_step("A nurse", "Tried again")),
            absent_eye_reason="Amara lost it as a child",
        ),
        old_case(patients[2], ""),
    ]
    connection.database.workspace_patient.insert_many(patients)
    connection.database.workspace_case.insert_many(cases)
    return patients, cases


def stored() -> tuple[list[dict], list[dict]]:
    return tuple(
        list(connection.database[name].find().sort("_id", 1))
        for name in ("workspace_patient", "workspace_case")
    )


def test_records_of_before_are_sealed_found_and_plain_again_on_the_way_back(old_records, migrate):
    patients, cases = old_records
    migrate(newest())

    found = patient_of(patients[0])
    assert (found.mrn, found.name, found.phone) == ("N-1", "Amara Diallo", "+44 20 7946 0000")
    assert found.email == "amara@x.example"
    with hospital_scope(patients[0]["hospital_id"]):
        case = Case.objects.get(pk=cases[0]["_id"])
        assert case.notes == "Amara is afraid of the light"
        assert (case.patient_copy.name, case.patient_copy.mrn) == ("Amara Diallo", "N-1")
        assert case.version == 3
        assert case.absent_eye_reason == "Amara lost it as a child"
        assert [step.why for step in case.history] == [
            "The grading worker was lost",
            "These are the eyes of Bela Novak",
            "Tried again",
        ]
        # Two patients they were, and two they stay; the number leads to the one who had it first.
        assert patient_by_mrn("N-1").pk == patients[0]["_id"]
        assert {one.name for one in patient_list(search="n-1", start=0, count=9)} == {
            "Amara Diallo",
            "Bela Novak",
        }
    with hospital_scope(patients[2]["hospital_id"]):
        assert patient_by_mrn("N-1").name == "Carla Weiss"
        assert [one.mrn for one in patient_list(search="b-599", start=0, count=9)] == ["B-599"]
    sealed = stored()
    assert all(isinstance(one["name"], bytes) for one in sealed[0])
    assert not any("search_text" in one for one in sealed[0])
    assert not any(word in str(sealed[1][0]) for word in ("Novak", "child"))

    migrate(BEFORE)
    assert stored() == (patients, cases)


def patient_of(document: dict) -> Patient:
    with hospital_scope(document["hospital_id"]):
        return Patient.objects.get(pk=document["_id"])


def test_migration_that_broke_off_begins_again(old_records, migrate, monkeypatch):
    """The second beginning meets records that are sealed, and some that are not."""
    patients, _ = old_records
    migrate(newest())
    half = [one["_id"] for one in patients[:300]]
    connection.database.workspace_patient.delete_many({"_id": {"$nin": half}})
    sealed = list(connection.database.workspace_patient.find())
    migrate(BEFORE)
    assert len(sealed) == 300
    connection.database.workspace_patient.delete_many({})
    for one in sealed:
        del one["mrn_hash"], one["search_hashes"]
        one["search_text"] = "somebody"
    connection.database.workspace_patient.insert_many([*sealed, *patients[300:]])
    forget_keys()

    migrate(newest())
    for one in (patients[0], patients[1], patients[299], patients[300], patients[-1]):
        assert patient_of(one).name == one["name"]
    with hospital_scope(patients[2]["hospital_id"]):
        assert patient_by_mrn("b-0").name == "Somebody 0"
        assert patient_by_mrn("b-599").name == "Somebody 599"


def test_old_patients_are_found_as_possible_duplicates(migrate, old_records):
    migrate(newest())
    hospital_id = old_records[0][0]["hospital_id"]
    with hospital_scope(hospital_id):
        newcomer = Patient(
            hospital_id=hospital_id,
            mrn="X-9",
            name="Somebody Else",
            birth_date=dt.date(1980, 5, 6),
            phone="020 7946 0000",
        )
        [found] = lookalikes_of(newcomer)
        assert found.patient.name == "Amara Diallo"
        assert found.patient.merged_into is None
        assert found.patient.not_same_as == []
