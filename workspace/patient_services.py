"""Register and correct patients."""

from bson import ObjectId
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from workspace.models import Case, Patient
from workspace.services import patient_copy

MRN_TAKEN = "A patient with this record number is registered already."


def patient_create(*, hospital_id: ObjectId, **fields) -> Patient:
    """Register a patient. Raises ValidationError, also when the record number is taken."""
    return _patient_save(Patient(hospital_id=hospital_id, **fields))


def patient_update(*, patient: Patient, **fields) -> Patient:
    """Correct a patient, and what their cases show of them. Raises ValidationError."""
    for name, value in fields.items():
        setattr(patient, name, value)
    patient = _patient_save(patient)
    Case.objects.refresh_patient_copy(patient_pk=patient.pk, patient_copy=patient_copy(patient))
    return patient


def _patient_save(patient: Patient) -> Patient:
    patient.full_clean()
    try:
        patient.save()
    except IntegrityError as error:
        # Somebody registered the number between our look and our write: the index decides.
        raise ValidationError({"mrn": MRN_TAKEN}) from error
    return patient
