"""A key for each patient, under which the trail's details about them are sealed.

Erasing a patient destroys this key: the events stay, and the chain still verifies, but what they
say of the patient can't be read again, in the database or in any copy of it made later.
"""

import base64
import os
from collections.abc import Iterable

from bson import ObjectId
from django.utils import timezone

from accounts.audit.models import SubjectKey
from accounts.audit.sealing import KEY_BYTES, opened_with, seal_for, sealed_with, unseal_for
from accounts.keys.errors import KeyDestroyed
from accounts.keys.sealing import UNREADABLE
from accounts.scoping import hospital_scope

# In front of what is sealed with a patient's key.
PREFIX = "subject:"


def subject_seal(text: str, *, patient_id: ObjectId, hospital_id: ObjectId) -> str | None:
    """Seal words about a patient; None when no key is left for them, so nothing may be kept."""
    try:
        key = _key(patient_id, hospital_id) or _key_make(patient_id, hospital_id)
    except KeyDestroyed:
        return None
    material = _opened(key)
    return None if material is None else PREFIX + sealed_with(material, text)


def subject_unseal(sealed: str, *, patient_id: ObjectId, hospital_id: ObjectId) -> str:
    """Open what `subject_seal` sealed; UNREADABLE once the patient was erased."""
    return SubjectOpener(hospital_id, {patient_id}).opened(sealed, patient_id)


class SubjectOpener:
    """Opens what was sealed about several patients of a hospital, after one look for their keys."""

    def __init__(self, hospital_id: ObjectId, patient_ids: Iterable[ObjectId]) -> None:
        with hospital_scope(hospital_id):
            found = SubjectKey.objects.filter(pk__in=list(patient_ids))
            self._keys = {key.pk: _opened(key) for key in found}

    def opened(self, sealed: str, patient_id: ObjectId) -> str:
        material = self._keys.get(patient_id)
        return (
            UNREADABLE if material is None else opened_with(material, sealed.removeprefix(PREFIX))
        )


def subject_key_destroy(subject_id: ObjectId, *, hospital_id: ObjectId) -> None:
    """Make unreadable, for good, what the trail says of a patient. Part of an open transaction.

    Leaves a mark: events that are written about the patient later keep no details either.
    """
    gone = {"wrapped": "", "destroyed_at": timezone.now()}
    with hospital_scope(hospital_id):
        if not SubjectKey.objects.filter(pk=subject_id).update(**gone):
            SubjectKey.objects.create(pk=subject_id, hospital_id=hospital_id, **gone)


def _key(patient_id: ObjectId, hospital_id: ObjectId) -> SubjectKey | None:
    with hospital_scope(hospital_id):
        return SubjectKey.objects.filter(pk=patient_id).first()


def _key_make(patient_id: ObjectId, hospital_id: ObjectId) -> SubjectKey:
    material = base64.b64encode(os.urandom(KEY_BYTES)).decode()
    key = SubjectKey(
        pk=patient_id, hospital_id=hospital_id, wrapped=seal_for(hospital_id, material)
    )
    with hospital_scope(hospital_id):
        key.save(force_insert=True)
    return key


def _opened(key: SubjectKey) -> bytes | None:
    material = unseal_for(key.wrapped) if key.wrapped else UNREADABLE
    return None if material == UNREADABLE else base64.b64decode(material)
