"""Seal what people wrote into cases: why a visit was cancelled, say, or why an eye is missing.

In batches; what is still plain text is told from what is sealed by its type in the database, so
this can break off anywhere and begin again. Words of a hospital whose key was destroyed are deleted:
nobody was to read them any more.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import accounts.keys.fields
from django.db import migrations
from pymongo import UpdateOne

from accounts.keys.errors import KeyDestroyed
from accounts.keys.sealing import seal_bytes, unseal_bytes

CASES = "workspace_case"
EYE, STEP = "workspace.case.absent_eye_reason", "workspace.statechange.words"
# What the service itself wrote: it names nobody.
SERVICES = ["grading worker", "grading service"]
SERVICE_WORDS = [
    "",
    "Tried again",
    "Moved with the patient's record, which was merged with another one",
    "Moved back with the patient's record: its merge was undone",
]
BY_A_PERSON = {"reason": {"$type": "string", "$nin": SERVICE_WORDS}, "by": {"$nin": SERVICES}}
PLAIN = {
    "$or": [
        {"absent_eye_reason": {"$type": "string", "$ne": ""}},
        {"history": {"$elemMatch": BY_A_PERSON}},
    ]
}
SEALED = {
    "$or": [
        {"absent_eye_reason": {"$type": "binData"}},
        {"history.words": {"$exists": True}},
    ]
}
BATCH = 500


def seal(apps, schema_editor) -> None:
    _change_all(schema_editor.connection.get_collection(CASES), PLAIN, _sealed)


def unseal(apps, schema_editor) -> None:
    _change_all(schema_editor.connection.get_collection(CASES), SEALED, _plain)


def _change_all(collection, to_do: dict, change: Callable[[dict], dict]) -> None:
    """Set what `change` returns in every case that is to do, unless it changed meanwhile."""
    seen = ["hospital_id", "absent_eye_reason", "history"]
    found = collection.find(to_do, seen, batch_size=BATCH).sort("_id", 1)
    while batch := list(islice(found, BATCH)):
        collection.bulk_write([UpdateOne(one, {"$set": change(one)}) for one in batch])


def _sealed(case: dict) -> dict:
    steps = [
        {**step, "reason": "", "words": _seal(step["reason"], case, STEP)}
        if _is_by_a_person(step)
        else step
        for step in case["history"]
    ]
    return dict(_eye(case, str, _seal), history=steps)


def _is_by_a_person(step: dict) -> bool:
    return step["by"] not in SERVICES and step.get("reason", "") not in SERVICE_WORDS


def _plain(case: dict) -> dict:
    steps = [_plain_step(step, case) for step in case["history"]]
    return dict(_eye(case, bytes, _unseal), history=steps)


def _plain_step(step: dict, case: dict) -> dict:
    plain = {name: value for name, value in step.items() if name != "words"}
    if step.get("words"):
        plain["reason"] = _unseal(step["words"], case, STEP)
    return plain


def _eye(case: dict, kind: type, change: Callable) -> Iterator[tuple[str, str | bytes]]:
    reason = case.get("absent_eye_reason")
    if reason and isinstance(reason, kind):
        yield "absent_eye_reason", change(reason, case, EYE)


def _seal(text: str, case: dict, purpose: str) -> bytes | str:
    try:
        return seal_bytes(text.encode(), hospital_id=case["hospital_id"], purpose=purpose)
    except KeyDestroyed:
        return ""


def _unseal(sealed: bytes, case: dict, purpose: str) -> str:
    return unseal_bytes(sealed, purpose=purpose).decode()


class Migration(migrations.Migration):
    dependencies = [("workspace", "0005_patients")]

    operations = [
        migrations.AddField(
            model_name="statechange",
            name="words",
            field=accounts.keys.fields.SealedCharField(blank=True, default="", max_length=300),
        ),
        migrations.AlterField(
            model_name="case",
            name="absent_eye_reason",
            field=accounts.keys.fields.SealedCharField(
                blank=True, max_length=200, verbose_name="reason"
            ),
        ),
        migrations.RunPython(seal, unseal),
    ]
