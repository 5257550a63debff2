"""Register and correct patients."""

from bson import ObjectId
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from drservice.common.transactions import transactional
from workspace.models import Case, Patient
from workspace.services import patient_copy

MRN_TAKEN = "A patient with this record number is registered already."
# What `Patient.clean` sets, whichever fields were corrected.
CLEANED_FIELDS = ("mrn", "name", "search_text")


def patient_create(*, hospital_id: ObjectId, **fields) -> Patient:
    """Register a patient. Raises ValidationError, also when the record number is taken."""
    return _patient_save(Patient(hospital_id=hospital_id, **fields))


@transactional
def patient_update(*, patient: Patient, **fields) -> Patient:
    """Correct a patient and what their cases show of them, both or neither.

    Raises ValidationError, and then has changed nothing but the instance.
    """
    for name, value in fields.items():
        setattr(patient, name, value)
    patient = _patient_save(patient, update_fields=[*fields, *CLEANED_FIELDS])
    Case.objects.refresh_patient_copy(patient_pk=patient.pk, patient_copy=patient_copy(patient))
    return patient


def _patient_save(patient: Patient, **options) -> Patient:
    patient.full_clean()
    try:
        patient.save(**options)
    except IntegrityError as error:
        # Somebody registered the number between our look and our write: the index decides.
        raise ValidationError({"mrn": MRN_TAKEN}) from error
    return patient
