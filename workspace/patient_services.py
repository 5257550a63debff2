"""Register and correct patients."""

from bson import ObjectId
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from accounts.audit.actions import Action
from accounts.audit.services import audited
from workspace.models import Case, Patient
from workspace.services import patient_copy
from workspace.trail import patient_facts, patient_record

MRN_TAKEN = "A patient with this record number is registered already."
# What `Patient.clean` sets, whichever fields were corrected.
CLEANED_FIELDS = ("mrn", "mrn_hash", "name", "search_hashes")


@audited
def patient_create(*, hospital_id: ObjectId, **fields) -> Patient:
    """Register a patient. Raises ValidationError, also when the record number is taken."""
    patient = _patient_save(Patient(hospital_id=hospital_id, **fields))
    patient_record(Action.CREATE, patient, after=patient_facts(patient))
    return patient


@audited
def patient_update(*, patient: Patient, **fields) -> Patient:
    """Correct a patient and what their cases show of them, both or neither.

    Raises ValidationError, and then has changed nothing but the instance.
    """
    before = patient_facts(Patient.objects.get(pk=patient.pk))
    for name, value in fields.items():
        setattr(patient, name, value)
    patient = _patient_save(patient, update_fields=[*fields, *CLEANED_FIELDS])
    Case.objects.refresh_patient_copy(patient_pk=patient.pk, patient_copy=patient_copy(patient))
    patient_record(Action.CHANGE, patient, before=before, after=patient_facts(patient))
    return patient


def _patient_save(patient: Patient, **options) -> Patient:
    patient.full_clean()
    try:
        patient.save(**options)
    except IntegrityError as error:
        # Somebody registered the number between our look and our write: the index decides.
        raise ValidationError({"mrn": MRN_TAKEN}) from error
    return patient
