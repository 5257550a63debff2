"""Cases with real photographs behind them, and models in the registry."""

import hashlib
import io
from functools import cache
from itertools import count
from pathlib import Path

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from accounts.models import Hospital
from accounts.scoping import hospital_scope
from inference.engine.synthetic import draw_fundus
from inference.models import ModelVersion
from inference.selectors import workers_alive
from inference.services import model_register
from inference.worker_status import WorkerStatus
from workspace import services
from workspace.case_parts import EyeImage
from workspace.models import Case
from workspace.schemas import Laterality
from workspace.services import case_create, case_submit
from workspace.tests.factories import make_image, make_patient

_numbers = count(1)


@cache
def fundus_jpeg(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    draw_fundus(seed, grade=0, size_px=(640, 480)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def make_stored_image(laterality: str, content: bytes, **fields) -> EyeImage:
    """Return a photograph's record with its bytes in the store."""
    name = default_storage.save(f"test/stored-{next(_numbers)}/original", ContentFile(content))
    digest = hashlib.sha256(content).hexdigest()
    return make_image(laterality, original=name, sha256=digest, size_bytes=len(content), **fields)


def make_stored_case(hospital: Hospital, contents: dict[str, bytes] | None = None) -> Case:
    """Return a draft case with one photograph an eye, bytes and all."""
    contents = contents or {Laterality.OD: fundus_jpeg(1), Laterality.OS: fundus_jpeg(2)}
    patient = make_patient(hospital)
    with hospital_scope(hospital.pk):
        case = case_create(patient=patient, by="A nurse")
    for laterality, content in contents.items():
        case = add_stored_image(case, laterality, content)
    return case


def add_stored_image(case: Case, laterality: str, content: bytes) -> Case:
    with hospital_scope(case.hospital_id):
        return Case.objects.add_image(pk=case.pk, image=make_stored_image(laterality, content))


def unsent_hints(monkeypatch) -> list[str]:
    """Keep hints from Celery, and return the list that they are collected in."""
    sent: list[str] = []
    monkeypatch.setattr(services, "hint_send", lambda case: sent.append(str(case.pk)) or True)
    return sent


def submit(case: Case) -> Case:
    with hospital_scope(case.hospital_id):
        return case_submit(case=case, by="A nurse")


def reload(case: Case) -> Case:
    with hospital_scope(case.hospital_id):
        return Case.objects.get(pk=case.pk)


def status_of(worker: str) -> WorkerStatus | None:
    """Return what one worker says of itself; others may be heard of from earlier tests."""
    return next((status for status in workers_alive() if status.worker == worker), None)


def flip_byte(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def flip_stored_byte(model: ModelVersion, name: str) -> None:
    """Change one bit of a registered model's file where it is stored."""
    file = next(each for each in model.files if each.name == name)
    with default_storage.open(file.stored) as stored:
        content = bytearray(stored.read())
    content[len(content) // 2] ^= 1
    default_storage.delete(file.stored)
    default_storage.save(file.stored, ContentFile(bytes(content)))


def make_model(directory: Path, seed: int = 1, version: str = "1") -> ModelVersion:
    """Register a tiny untrained model."""
    # Only here: processes without torch import this module too.
    from inference.engine.testing import make_tiny_artefact  # noqa: PLC0415

    return model_register(directory=make_tiny_artefact(directory, seed, version=version))
