"""Register and correct patients."""

from collections.abc import Iterable

from bson import ObjectId
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.audit.actions import Action
from accounts.audit.services import audited
from workspace.models import Case, Patient
from workspace.patients.consenting import consents_said
from workspace.patients.match_keys import match_keys_of
from workspace.patients.merging import merges_into
from workspace.services import patient_copy, patient_secure
from workspace.trail import patient_facts, patient_record

MRN_TAKEN = "A patient with this record number is registered already."
# What `Patient.clean` and the keys set, whichever fields were corrected.
DERIVED_FIELDS = ("mrn", "mrn_hash", "name", "search_hashes", "match_keys")


@audited
def patient_create(
    *, hospital_id: ObjectId, not_same_as: Iterable[ObjectId] = (), **fields
) -> Patient:
    """Register a patient. Raises ValidationError, also when the record number is taken.

    `not_same_as` are records that look alike and that somebody found to be of other persons.
    """
    patient = _patient_save(Patient(hospital_id=hospital_id, **fields))
    for other in not_same_as:
        Patient.objects.tell_apart(patient.pk, other)
    patient_record(Action.CREATE, patient, after=patient_facts(patient))
    return patient


@audited
def patient_update(*, patient: Patient, **fields) -> Patient:
    """Correct a patient and what their cases show of them, both or neither.

    Raises ValidationError, PatientGone; then nothing has changed but the instance.
    """
    before = patient_facts(patient_secure(patient.pk))
    for name, value in fields.items():
        setattr(patient, name, value)
    patient = _patient_save(patient, update_fields=[*fields, *DERIVED_FIELDS])
    Case.objects.refresh_patient_copy(patient_pk=patient.pk, patient_copy=patient_copy(patient))
    consents_said(before, {**before, **fields}, merges=merges_into(patient.pk))
    patient_record(Action.CHANGE, patient, before=before, after=patient_facts(patient))
    return patient


def _patient_save(patient: Patient, **options) -> Patient:
    patient.full_clean()
    patient.match_keys = match_keys_of(patient)
    try:
        patient.save(**options)
    except IntegrityError as error:
        # Somebody registered the number between our look and our write: the index decides.
        raise ValidationError({"mrn": MRN_TAKEN}) from error
    return patient
