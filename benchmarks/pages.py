"""How fast the pages are with 100 000 cases in 50 hospitals.

Run: .venv/bin/python -m benchmarks.pages

Starts a MongoDB and a Redis of its own, fills them, then asks for every page through Django's test
client, signed in. Prints p50 and p95, the database commands a page takes, and whether any command
scanned a whole collection or joined two ($lookup).
"""

import argparse
import datetime as dt
import os
import random
import time
from collections import Counter

from benchmarks.machine import describe, row
from benchmarks.own_services import own_services

GOAL_MS = 50
PASSWORD = "a long password for the benchmark"


def main() -> None:
    options = _options()
    with own_services("benchmark_pages"):
        _measure(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--hospitals", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=100)
    return parser.parse_args()


def _measure(options: argparse.Namespace) -> None:
    print(describe())
    started = time.perf_counter()
    hospital, user = _fill(options.cases, options.hospitals)
    print(
        f"{options.cases} cases in {options.hospitals} hospitals, "
        f"filled in {time.perf_counter() - started:.0f} s\n"
    )
    client = _signed_in(user)
    for name, url in _pages(client, hospital).items():
        _time_page(client, name, url, options.rounds)


def _fill(case_count: int, hospital_count: int):
    """Make hospitals with one member each, 4 cases a patient, all graded but a few."""
    from django.db import connection

    from accounts.models import Hospital
    from accounts.permissions import Role
    from accounts.services import hospital_create, membership_create, user_create
    from workspace.tests.factories import make_graded_case, make_patient

    hospitals: list[Hospital] = [
        hospital_create(name=f"Hospital {number:03d}") for number in range(hospital_count)
    ]
    user = user_create(email="staff@benchmark.example", name="Staff", password=PASSWORD)
    membership_create(user=user, hospital=hospitals[0], roles=[Role.STAFF])
    model_patient = make_patient(hospitals[0])
    model_case = make_graded_case(model_patient, right=0, left=2)
    cases, patients = connection.database.workspace_case, connection.database.workspace_patient
    case = cases.find_one({"_id": model_case.pk})
    patient = patients.find_one({"_id": model_patient.pk})
    for hospital in hospitals:
        _fill_hospital(hospital.pk, case_count // hospital_count, case, patient, cases, patients)
    return hospitals[0], user


def _fill_hospital(hospital_id, case_count, case, patient, cases, patients) -> None:
    from bson import ObjectId

    from accounts.scoping import hospital_scope

    generator = random.Random(str(hospital_id))
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made_patients, made_cases = [], []
    for number in range(case_count):
        if number % 4 == 0:
            name = f"Patient {generator.randrange(10**6):06d}"
            mrn = f"R{number:06d}"
            fresh = {"_id": ObjectId(), "hospital_id": hospital_id}
            fresh["created_at"] = day + dt.timedelta(minutes=number)
            with hospital_scope(hospital_id):
                sealed, copied = _sealed(hospital_id, name, mrn)
            made_patients.append({**patient, **fresh, **sealed})
        owner = made_patients[-1]
        copy = {**case["patient_copy"], **copied}
        made_cases.append(
            {
                **case,
                "_id": ObjectId(),
                "hospital_id": hospital_id,
                "patient_id": owner["_id"],
                "patient_copy": copy,
                "created_at": day + dt.timedelta(minutes=number),
                "state": generator.choices(["graded", "draft", "queued"], [95, 4, 1])[0],
                "images": _own_images(case["images"]),
            }
        )
    patients.insert_many(made_patients)
    cases.insert_many(made_cases)


def _sealed(hospital_id, name: str, mrn: str) -> tuple[dict, dict]:
    """Return what a patient and the copy in their cases store of a name and a number."""
    from django.db import connection

    from workspace.case_parts import PatientCopy
    from workspace.models import Patient
    from workspace.patient_search import mrn_hash, search_hashes

    def stored(model) -> dict:
        values = {"name": name, "mrn": mrn}
        return {
            key: model._meta.get_field(key).get_db_prep_save(value, connection)
            for key, value in values.items()
        }

    hashes = {
        "mrn_hash": mrn_hash(mrn, hospital_id),
        "search_hashes": search_hashes(name, mrn, hospital_id),
    }
    return {**stored(Patient), **hashes}, stored(PatientCopy)


def _own_images(images: list[dict]) -> list[dict]:
    """Give copied photographs hashes of their own: no two photographs have the same bytes."""
    return [{**image, "sha256": os.urandom(32).hex()} for image in images]


def _signed_in(user):
    from django.test import Client

    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _pages(client, hospital) -> dict[str, str]:
    from django.urls import reverse

    from accounts.scoping import hospital_scope
    from workspace.selectors import case_list, patient_list

    with hospital_scope(hospital.pk):
        case = case_list(state="graded", start=0, count=1)[0]
        patient = patient_list(start=0, count=1)[0]
    search = reverse("workspace:patient-list")
    return {
        "worklist": reverse("workspace:case-list"),
        "worklist, graded": reverse("workspace:case-list") + "?state=graded",
        "patients": search,
        "patients, search by name": client.post(search, {"words": "patient 12"}).url,
        "patients, search by number": client.post(search, {"words": patient.mrn}).url,
        "patient": reverse("workspace:patient-detail", args=[patient.pk]),
        "case": reverse("workspace:case-detail", args=[case.pk]),
        "case, status": reverse("workspace:case-status", args=[case.pk]),
    }


def _time_page(client, name: str, url: str, rounds: int) -> None:
    samples_s = []
    for _ in range(rounds):
        started = time.perf_counter()
        response = client.get(url)
        samples_s.append(time.perf_counter() - started)
        if response.status_code != 200:
            raise SystemExit(f"{name} ({url}) answered {response.status_code}, not 200.")
    commands, faults = _commands_of(client, url)
    print(f"{row(name, samples_s[1:], GOAL_MS)}  {commands} commands{faults}")


def _commands_of(client, url: str) -> tuple[int, str]:
    """Return how many commands one page takes, by the server's own profiler, and what is wrong."""
    from django.db import connection

    database = connection.database
    database.command("profile", 2)
    client.get(url)
    database.command("profile", 0)
    entries = [
        entry
        for entry in database["system.profile"].find({"op": {"$ne": "none"}})
        if "profile" not in entry.get("command", {})
    ]
    database.drop_collection("system.profile")
    return len(entries), _faults(entries)


def _faults(entries: list[dict]) -> str:
    counted = Counter()
    for entry in entries:
        counted["COLLSCAN"] += "COLLSCAN" in entry.get("planSummary", "")
        counted["$lookup"] += "$lookup" in str(entry.get("command", {}))
    found = [f"{count} x {what}" for what, count in counted.items() if count]
    return f"  FAULT: {', '.join(found)}" if found else "  (no COLLSCAN, no $lookup)"


if __name__ == "__main__":
    main()
