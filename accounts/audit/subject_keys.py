"""A key for each patient, under which the trail's details about them are sealed.

Erasing a patient destroys this key: the events stay, and the chain still verifies, but what they
say of the patient can't be read again, in the database or in any copy of it made later.
"""

import base64
import os
import time
from collections.abc import Iterable
from functools import partial

from bson import ObjectId
from django.db import connection
from django.utils import timezone
from django_mongodb_backend.transaction import on_commit

from accounts.audit.models import SubjectKey
from accounts.audit.open_keys import key_destruction_begins, key_keep, key_open
from accounts.audit.sealing import KEY_BYTES, opened_with, seal_for, sealed_with, unseal_for
from accounts.keys.errors import KeyDestroyed
from accounts.keys.sealing import UNREADABLE, sealing_check
from accounts.scoping import hospital_scope

# In front of what is sealed with a patient's key.
PREFIX = "subject:"


def subject_seal(text: str, *, patient_id: ObjectId, hospital_id: ObjectId) -> str | None:
    """Seal words about a patient, as part of an open transaction.

    None when no key is left for them, so nothing may be kept.
    """
    try:
        # A patient's key opens with the hospital's alone: without that one, none is open any more.
        sealing_check(hospital_id)
        material = key_open(patient_id) or _material(patient_id, hospital_id)
    except KeyDestroyed:
        return None
    return None if material is None else PREFIX + sealed_with(material, text)


def subject_unseal(sealed: str, *, patient_id: ObjectId, hospital_id: ObjectId) -> str:
    """Open what `subject_seal` sealed; UNREADABLE once the patient was erased."""
    return SubjectOpener(hospital_id, {patient_id}).opened(sealed, patient_id)


class SubjectOpener:
    """Opens what was sealed about several patients of a hospital, after one look for their keys."""

    def __init__(self, hospital_id: ObjectId, patient_ids: Iterable[ObjectId]) -> None:
        with hospital_scope(hospital_id):
            found = SubjectKey.objects.filter(pk__in=list(patient_ids))
            self._keys = {key.pk: _opened(key.wrapped) for key in found}

    def opened(self, sealed: str, patient_id: ObjectId) -> str:
        material = self._keys.get(patient_id)
        return (
            UNREADABLE if material is None else opened_with(material, sealed.removeprefix(PREFIX))
        )


def subject_key_destroy(subject_id: ObjectId, *, hospital_id: ObjectId) -> None:
    """Make unreadable, for good, what the trail says of a patient. Part of an open transaction.

    Leaves a mark: events that are written about the patient later keep no details either.
    """
    key_destruction_begins(subject_id)
    gone = {"wrapped": "", "destroyed_at": timezone.now()}
    with hospital_scope(hospital_id):
        if not SubjectKey.objects.filter(pk=subject_id).update(**gone):
            SubjectKey.objects.create(pk=subject_id, hospital_id=hospital_id, **gone)


def _material(patient_id: ObjectId, hospital_id: ObjectId) -> bytes | None:
    """Return a patient's key, making the first one; None when it was destroyed."""
    read_at = time.monotonic()
    wrapped = _stored(patient_id, hospital_id)
    if wrapped is None:
        wrapped = _made(patient_id, hospital_id)
    material = _opened(wrapped)
    if material is not None:
        on_commit(partial(key_keep, patient_id, material, read_at))
    return material


def _stored(patient_id: ObjectId, hospital_id: ObjectId) -> str | None:
    """Return a patient's key as it rests, empty once destroyed; None when there was never one."""
    # Every change of a record asks for it, and the backend's queryset takes three times as long.
    found = connection.get_collection(SubjectKey._meta.db_table).find_one(
        {"_id": patient_id, "hospital_id": hospital_id}, session=connection.session
    )
    return None if found is None else found["wrapped"]


def _made(patient_id: ObjectId, hospital_id: ObjectId) -> str:
    material = base64.b64encode(os.urandom(KEY_BYTES)).decode()
    key = SubjectKey(
        pk=patient_id, hospital_id=hospital_id, wrapped=seal_for(hospital_id, material)
    )
    with hospital_scope(hospital_id):
        key.save(force_insert=True)
    return key.wrapped


def _opened(wrapped: str) -> bytes | None:
    material = unseal_for(wrapped) if wrapped else UNREADABLE
    return None if material == UNREADABLE else base64.b64decode(material)
