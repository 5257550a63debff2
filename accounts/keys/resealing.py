"""Seal the records of a hospital anew with its newest key, while people work on them.

Works on every model that has a hospital and sealed fields, also in what it embeds. A value is
replaced only if it is still the one that was read, so a change that somebody makes meanwhile wins.
It can break off anywhere: what has the newest key is passed by the next time.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from bson import ObjectId
from django.apps import apps
from django.db import connection, models
from django_mongodb_backend.fields import EmbeddedModelArrayField, EmbeddedModelField
from django_mongodb_backend.models import EmbeddedModel
from pymongo import UpdateOne

from accounts.keys.errors import KeyFault
from accounts.keys.fields import SealedField
from accounts.keys.sealing import seal_bytes, sealed_with, unseal_bytes

BATCH = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resealed:
    """How many records got the newest key, and how many did not: changed meanwhile, or damaged."""

    changed: int
    left: int


@dataclass(frozen=True)
class SealedValue:
    """One sealed value in a document: where it is, what it is bound to, and its bytes."""

    path: str
    purpose: str
    stored: bytes


def sealed_models() -> list[type[models.Model]]:
    """Return the models whose documents belong to a hospital and hold sealed values."""
    return [
        model
        for model in apps.get_models()
        if not issubclass(model, EmbeddedModel)
        and hasattr(model, "hospital_id")
        and _sealing_columns(model)
    ]


def records_reseal(hospital_id: ObjectId, version: int) -> Resealed:
    """Seal anew, once through all records, whatever has an older version than this."""
    each = [_model_reseal(model, hospital_id, version) for model in sealed_models()]
    return Resealed(sum(one.changed for one in each), sum(one.left for one in each))


def _model_reseal(model: type[models.Model], hospital_id: ObjectId, version: int) -> Resealed:
    collection = connection.get_collection(model._meta.db_table)
    found = collection.find(
        {"hospital_id": hospital_id}, ["hospital_id", *_sealing_columns(model)], batch_size=BATCH
    )
    changed = behind = 0
    while batch := list(islice(found, BATCH)):
        older = [(stored, values) for stored in batch if (values := _older(model, stored, version))]
        updates = [update for one in older if (update := _update(model, *one)) is not None]
        behind += len(older)
        if updates:
            changed += collection.bulk_write(updates, ordered=False).modified_count
    return Resealed(changed, behind - changed)


def _older(model: type[models.Model], stored: dict, version: int) -> list[SealedValue]:
    return [one for one in _values(model, stored) if sealed_with(one.stored)[1] < version]


def _update(model: type[models.Model], stored: dict, older: list[SealedValue]) -> UpdateOne | None:
    """Return the update that seals values anew; None, and a line in the log, if one is damaged."""
    hospital_id = stored["hospital_id"]
    try:
        anew = {one.path: _resealed(one, hospital_id) for one in older}
    except KeyFault:
        log.error("reseal_failed model=%s pk=%s", model._meta.label, stored["_id"])
        return None
    as_seen = {one.path: one.stored for one in older}
    return UpdateOne({"hospital_id": hospital_id, "_id": stored["_id"], **as_seen}, {"$set": anew})


def _resealed(one: SealedValue, hospital_id: ObjectId) -> bytes:
    plain = unseal_bytes(one.stored, purpose=one.purpose)
    return seal_bytes(plain, hospital_id=hospital_id, purpose=one.purpose)


def _values(model: type[models.Model], stored: dict, path: str = "") -> Iterator[SealedValue]:
    for field in model._meta.concrete_fields:
        value, place = stored.get(field.column), f"{path}{field.column}"
        if isinstance(field, SealedField) and isinstance(value, bytes):
            yield SealedValue(place, field.purpose, value)
        elif isinstance(field, EmbeddedModelField) and value:
            yield from _values(field.embedded_model, value, f"{place}.")
        elif isinstance(field, EmbeddedModelArrayField):
            for number, one in enumerate(value or []):
                yield from _values(field.embedded_model, one, f"{place}.{number}.")


def _sealing_columns(model: type[models.Model]) -> list[str]:
    """Return the top-level columns in which sealed values may be."""
    return [field.column for field in model._meta.concrete_fields if _may_hold_sealed(field)]


def _may_hold_sealed(field: models.Field) -> bool:
    if isinstance(field, (EmbeddedModelField, EmbeddedModelArrayField)):
        return bool(_sealing_columns(field.embedded_model))
    return isinstance(field, SealedField)
