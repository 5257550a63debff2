"""Patients and cases for tests, made through the same services as the real ones."""

import datetime as dt
import hashlib
from itertools import count

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from accounts.models import Hospital
from accounts.scoping import hospital_scope
from workspace.case_parts import EyeImage, new_key
from workspace.models import Case, Patient
from workspace.patients.registering import patient_create
from workspace.schemas import ImageResult, Laterality, Quality
from workspace.services import case_claim, case_complete, case_create, case_submit

_numbers = count(1)


def make_patient(hospital: Hospital, **fields) -> Patient:
    number = next(_numbers)
    fields = {
        "mrn": f"MRN-{number:05d}",
        "name": f"Patient Number{number}",
        "birth_date": dt.date(1960, 1, 1),
        **fields,
    }
    with hospital_scope(hospital.pk):
        return patient_create(hospital_id=hospital.pk, **fields)


def make_image(laterality: str = "", **fields) -> EyeImage:
    """Return a photograph's record without bytes behind it."""
    number = next(_numbers)
    fields = {
        "original": f"test/{number}/original",
        "display": f"test/{number}/display",
        "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "size_bytes": 1000,
        "width_px": 640,
        "height_px": 480,
        "format": "JPEG",
        **fields,
    }
    return EyeImage(laterality=laterality, **fields)


def make_case(patient: Patient, lateralities=(Laterality.OD, Laterality.OS), **details) -> Case:
    """Return a draft case with one photograph an eye."""
    with hospital_scope(patient.hospital_id):
        case = case_create(patient=patient, by="A nurse", **details)
        for laterality in lateralities:
            case = Case.objects.add_image(pk=case.pk, image=make_image(laterality))
    return case


def make_queued_case(patient: Patient) -> Case:
    with hospital_scope(patient.hospital_id):
        return case_submit(case=make_case(patient), by="A nurse")


def make_result(image: EyeImage, grade: int | None = 0, **fields) -> ImageResult:
    rejected = grade is None
    spread = () if rejected else tuple(0.6 if g == grade else 0.1 for g in range(5))
    fields = {
        "model_version": "test-1",
        "quality": Quality.REJECT if rejected else Quality.GOOD,
        "quality_reasons": ("blurred",) if rejected else (),
        "gradable_probability": 0.1 if rejected else 0.9,
        "probabilities": spread,
        "referable": not rejected and grade >= 2,
        "vision_threatening": not rejected and grade >= 3,
        "referable_probability": None if rejected else sum(spread[2:]),
        "vision_threatening_probability": None if rejected else sum(spread[3:]),
        **fields,
    }
    return ImageResult(image_key=image.key, grade=grade, **fields)


def make_graded_case(patient: Patient, right: int | None = 0, left: int | None = 0) -> Case:
    """Return a case that a worker has graded; None stands for an ungradable photograph."""
    claimed = case_claim(case_pk=str(make_queued_case(patient).pk), worker="test")
    grades = {Laterality.OD: right, Laterality.OS: left}
    results = [make_result(image, grades[image.laterality]) for image in claimed.images]
    return case_complete(case=claimed, results=results)


def _image_with_files(case: Case, laterality: Laterality) -> EyeImage:
    content = f"the bytes of a photograph, {laterality} of {case.pk}".encode()
    key = new_key()
    folder = f"{case.hospital_id}/{case.pk}/{key}"
    for name in ("original", "display", "thumbnail", "heatmap-1"):
        default_storage.save(f"{folder}/{name}", ContentFile(content))
    return make_image(
        laterality,
        key=key,
        original=f"{folder}/original",
        display=f"{folder}/display",
        sha256=hashlib.sha256(content).hexdigest(),
    )


def graded_case_with_files(patient: Patient) -> Case:
    """Return a graded case whose photographs and attention maps are stored."""
    case = make_case(patient, lateralities=())
    with hospital_scope(patient.hospital_id):
        for laterality in Laterality:
            case = Case.objects.add_image(pk=case.pk, image=_image_with_files(case, laterality))
        case = case_submit(case=case, by="A nurse")
    claimed = case_claim(case_pk=str(case.pk), worker="test")
    results = [
        make_result(image, heatmap=image.original.replace("original", "heatmap-1"))
        for image in claimed.images
    ]
    return case_complete(case=claimed, results=results)
