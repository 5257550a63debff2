"""Seal what names a patient, in the records written before too.

In batches, and as often as it takes: what is still plain text is told from what is sealed by its
type in the database, so this can break off anywhere and begin again (the empty hashes that a second
beginning sets are filled anew). Backwards everything becomes plain text as before; records of a
hospital whose key was destroyed stop that.

Record numbers that differ in case alone were two patients until now, and stay two: the one that was
registered later gets a hash that no number has. The log names it.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import islice

import accounts.keys.fields
import django_mongodb_backend.fields
from django.db import migrations, models
from pymongo import UpdateOne

from accounts.keys.sealing import keyed_hash, seal_bytes, unseal_bytes
from workspace.patient_search import MRN_PURPOSE, mrn_hash, search_hashes

PATIENTS = "workspace_patient"
CASES = "workspace_case"
# The path in a document, and what a value there is bound to.
SEALED = {
    PATIENTS: {
        "mrn": "workspace.patient.mrn",
        "name": "workspace.patient.name",
        "phone": "workspace.patient.phone",
        "email": "workspace.patient.email",
    },
    CASES: {
        "notes": "workspace.case.notes",
        "patient_copy.mrn": "workspace.patientcopy.mrn",
        "patient_copy.name": "workspace.patientcopy.name",
    },
}
BATCH = 500

log = logging.getLogger(__name__)


def seal(apps, schema_editor) -> None:
    patients = schema_editor.connection.get_collection(PATIENTS)
    to_do = {"$or": [_holds(PATIENTS, "string"), {"mrn_hash": ""}]}
    hashed = patients.find({"$nor": [to_do]}, ["hospital_id", "mrn_hash"])
    taken = {(one["hospital_id"], one["mrn_hash"]) for one in hashed}
    _change_all(patients, to_do, lambda one: {**_sealed(PATIENTS, one), **_hashes(one, taken)})
    cases = schema_editor.connection.get_collection(CASES)
    _change_all(cases, _holds(CASES, "string"), lambda one: _sealed(CASES, one))


def unseal(apps, schema_editor) -> None:
    patients = schema_editor.connection.get_collection(PATIENTS)
    _change_all(patients, _holds(PATIENTS, "binData"), _plain_patient)
    cases = schema_editor.connection.get_collection(CASES)
    _change_all(cases, _holds(CASES, "binData"), lambda one: _unsealed(CASES, one))


def _holds(collection: str, kind: str) -> dict:
    """Return a filter for the documents that hold a value of this BSON type."""
    return {"$or": [{path: {"$type": kind, "$ne": ""}} for path in SEALED[collection]]}


def _change_all(collection, to_do: dict, changes: Callable[[dict], dict]) -> None:
    """Set what `changes` returns in every document that is to do, unless it changed meanwhile."""
    found = collection.find(to_do, batch_size=BATCH).sort("_id", 1)
    while batch := list(islice(found, BATCH)):
        updates = [
            UpdateOne(_as_seen(collection.name, one), {"$set": changes(one)}) for one in batch
        ]
        collection.bulk_write(updates, ordered=False)


def _as_seen(collection: str, one: dict) -> dict:
    """Return a filter for a document that nobody has changed since it was read."""
    return {"_id": one["_id"], **{path: value for path, value, _ in _values(collection, one)}}


def _values(collection: str, one: dict) -> Iterator[tuple[str, str | bytes, str]]:
    """Give path, value and purpose of everything in a document that is or will be sealed."""
    for path, purpose in SEALED[collection].items():
        value = one
        for key in path.split("."):
            value = value.get(key, "")
        if value:
            yield path, value, purpose


def _sealed(collection: str, one: dict) -> dict:
    return {
        path: seal_bytes(value.encode(), hospital_id=one["hospital_id"], purpose=purpose)
        for path, value, purpose in _values(collection, one)
        if isinstance(value, str)
    }


def _unsealed(collection: str, one: dict) -> dict:
    return {
        path: unseal_bytes(value, purpose=purpose).decode()
        for path, value, purpose in _values(collection, one)
        if isinstance(value, bytes)
    }


def _hashes(one: dict, taken: set) -> dict:
    """Return what stands in for name and number of a patient."""
    hospital_id, plain = one["hospital_id"], {**one, **_unsealed(PATIENTS, one)}
    name, mrn = plain["name"], plain["mrn"]
    own = mrn_hash(mrn, hospital_id)
    if (hospital_id, own) in taken:
        log.warning("patient_mrn_twice patient=%s", one["_id"])
        own = keyed_hash(f"\0{one['_id']}", hospital_id=hospital_id, purpose=MRN_PURPOSE)
    taken.add((hospital_id, own))
    return {"mrn_hash": own, "search_hashes": search_hashes(name, mrn, hospital_id)}


def _plain_patient(one: dict) -> dict:
    plain = _unsealed(PATIENTS, one)
    return {**plain, "search_text": f"{plain['name']} {plain['mrn']}".casefold()}


class Migration(migrations.Migration):
    dependencies = [("workspace", "0003_likeliest_grades"), ("keys", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="patient",
            name="mrn_hash",
            field=models.CharField(default="", editable=False, max_length=22),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="patient",
            name="search_hashes",
            field=django_mongodb_backend.fields.ArrayField(
                base_field=models.CharField(max_length=11), default=list, editable=False
            ),
        ),
        migrations.RunPython(seal, unseal),
        migrations.RemoveConstraint(model_name="patient", name="patient_mrn_once_per_hospital"),
        migrations.RemoveIndex(model_name="patient", name="patient_hospital_search"),
        migrations.RemoveField(model_name="patient", name="search_text"),
        migrations.AlterField(
            model_name="patient",
            name="mrn",
            field=accounts.keys.fields.SealedCharField(
                max_length=40, verbose_name="medical record number"
            ),
        ),
        migrations.AlterField(
            model_name="patient",
            name="name",
            field=accounts.keys.fields.SealedCharField(max_length=120),
        ),
        migrations.AlterField(
            model_name="patient",
            name="phone",
            field=accounts.keys.fields.SealedCharField(blank=True, max_length=30),
        ),
        migrations.AlterField(
            model_name="patient",
            name="email",
            field=accounts.keys.fields.SealedEmailField(
                blank=True, max_length=254, verbose_name="e-mail"
            ),
        ),
        migrations.AlterField(
            model_name="case",
            name="notes",
            field=accounts.keys.fields.SealedTextField(blank=True, max_length=2000),
        ),
        migrations.AlterField(
            model_name="patientcopy",
            name="mrn",
            field=accounts.keys.fields.SealedCharField(max_length=40),
        ),
        migrations.AlterField(
            model_name="patientcopy",
            name="name",
            field=accounts.keys.fields.SealedCharField(max_length=120),
        ),
        migrations.AddIndex(
            model_name="patient",
            index=models.Index(
                fields=["hospital", "search_hashes", "-created_at"], name="patient_search_newest"
            ),
        ),
        migrations.AddConstraint(
            model_name="patient",
            constraint=models.UniqueConstraint(
                fields=["hospital", "mrn_hash"],
                name="patient_mrn_hash_once_per_hospital",
                violation_error_message="A patient with this record number is registered already.",
            ),
        ),
    ]
