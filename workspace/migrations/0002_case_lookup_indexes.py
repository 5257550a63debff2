"""Indexes on fields inside the case document, which Django's Meta can't name.

One answers whether a photograph's bytes are in another case of the hospital, the other narrows
the worklist to one decision.
"""

from django.db import migrations
from pymongo import ASCENDING, DESCENDING

CASES = "workspace_case"
INDEXES = {
    "case_image_sha256": [("hospital_id", ASCENDING), ("images.sha256", ASCENDING)],
    "case_hospital_decision": [
        ("hospital_id", ASCENDING),
        ("outcome.decision", ASCENDING),
        ("created_at", DESCENDING),
    ],
}


def create_indexes(apps, schema_editor) -> None:
    collection = schema_editor.connection.get_collection(CASES)
    for name, keys in INDEXES.items():
        collection.create_index(keys, name=name)


def drop_indexes(apps, schema_editor) -> None:
    collection = schema_editor.connection.get_collection(CASES)
    for name in INDEXES:
        collection.drop_index(name)


class Migration(migrations.Migration):
    dependencies = [("workspace", "0001_initial")]
    operations = [migrations.RunPython(create_indexes, drop_indexes)]
