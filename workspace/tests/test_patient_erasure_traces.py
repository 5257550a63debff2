"""After an erasure nothing of the patient is left: every byte of database, Redis, files and logs.

The patient goes through the pages as a patient does: registered, found, photographed, graded,
merged, exported, refused, erased. Before the erasure the same scan finds them, so it can see.
"""

import hashlib
import io
import json
import logging
import random
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import bson
import pytest
import redis
from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.urls import reverse
from PIL import Image

from accounts.audit.models import AuditEvent
from accounts.audit.selectors import events_told
from accounts.audit.verification import chain_check
from accounts.models import Hospital
from accounts.scoping import hospital_scope
from drservice.testing.pages import searched
from workspace.case_parts import PatientCopy
from workspace.models import Case, Erasure, Patient, PatientMerge, RetentionPolicy
from workspace.services import case_claim, case_complete
from workspace.tests.factories import make_result

pytestmark = pytest.mark.django_db(transaction=True)

PERSON = {
    "mrn": "ZX-0815-17",
    "name": "Philomena Quartermaine",
    "birth_date": "1961-04-02",
    "sex": "F",
    "diabetes_type": "2",
    "phone": "+41 79 555 73 91",
    "email": "philomena.q@example.org",
}
TWIN = {**PERSON, "mrn": "ZX-0815-99", "name": "Quartermain Filomena", "phone": "", "email": ""}
NOTES = "Came with her sister Wilhelmina"
HEATMAP = b"\x89PNG attention of this very eye"
REASONS = ("Asked Philomena herself", "Copy for Mrs Quartermaine", "Solicitor of Quartermaine")
WORDS = (
    *("Philomena", "Quartermain", "Filomena", "Wilhelmina", "philomena.q@example.org"),
    *("ZX-0815-17", "ZX-0815-99", "+41 79 555 73 91", "795557391"),
)
# At their most talkative; the others as the settings have them.
PROJECT_LOGGERS = ("drservice", "accounts", "workspace", "inference", "training")


def url(name: str, *args) -> str:
    return reverse(f"workspace:{name}", args=args)


class Traces:
    """What must not be found once a patient is erased, and where to look for it."""

    def __init__(self, photographs: Iterable[bytes], logs, temporary: Path) -> None:
        self.logs, self.temporary = logs, temporary
        pieces = [content[start : start + 64] for content in photographs for start in (600, 5000)]
        hashes = [hashlib.sha256(content).hexdigest().encode() for content in photographs]
        words = [form.encode() for word in WORDS for form in (word, word.lower(), word.upper())]
        self.needles = [*words, *pieces, *hashes, HEATMAP]

    def found(self) -> dict[str, list[bytes]]:
        """Return the needles that are still somewhere, by the place."""
        places = {
            "database": self._database(),
            "unsealed": self._unsealed(),
            "redis": self._redis(),
            "files": self._files(),
            "logs": [self.logs.text.encode()],
        }
        hits = {place: self._hits(contents) for place, contents in places.items()}
        return {place: hit for place, hit in hits.items() if hit}

    def _hits(self, contents: Iterable[bytes]) -> list[bytes]:
        everything = b"\0".join(contents)
        return [needle for needle in self.needles if needle in everything]

    def _database(self) -> Iterator[bytes]:
        for name in connection.database.list_collection_names():
            for document in connection.database.get_collection(name).find():
                yield bson.encode(document)

    def _unsealed(self) -> Iterator[bytes]:
        """Give whatever can still be opened with the hospital's keys: every field, every event."""
        for hospital in Hospital.objects.all():
            with hospital_scope(hospital.pk):
                for model in (Patient, Case, PatientMerge, RetentionPolicy, Erasure, AuditEvent):
                    for one in model.objects.all():
                        yield _words(one).encode()
                events = AuditEvent.objects.order_by("seq")
                for told in events_told(events, hospital_id=hospital.pk):
                    yield json.dumps([told.before, told.after, told.reason]).encode()

    def _redis(self) -> Iterator[bytes]:
        client = redis.Redis.from_url(settings.REDIS_URL)
        client.config_set("rdbcompression", "no")
        for key in client.scan_iter():
            yield key
            yield client.dump(key) or b""

    def _files(self) -> Iterator[bytes]:
        for path in self.temporary.rglob("*"):
            yield str(path).encode()
            if path.is_file():
                yield path.read_bytes()


def _words(one) -> str:
    """Return everything that a document says, opened: also the copy of the patient in a case."""
    parts = [getattr(one, field.attname) for field in one._meta.concrete_fields]
    copied = [part for part in parts if isinstance(part, PatientCopy)]
    return " ".join([*map(str, parts), *(f"{copy.name} {copy.mrn}" for copy in copied)])


@pytest.fixture
def temporary(tmp_path, monkeypatch, settings) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # Every upload goes by way of a file.
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1000
    return tmp_path


def register(client, person: dict) -> None:
    answer = client.post(url("patient-create"), person)
    told_apart = [one.patient.pk for one in answer.context["lookalikes"]] if answer.context else []
    if told_apart:
        client.post(url("patient-create"), {**person, "not_same": [str(pk) for pk in told_apart]})


def photographed(client, hospital, photographs: list[bytes]) -> Case:
    """Take a patient's photographs through the pages, up to a graded case with attention maps."""
    with hospital_scope(hospital.pk):
        patient = Patient.objects.order_by("created_at").first()
    client.post(url("case-create", patient.pk))
    with hospital_scope(hospital.pk):
        case = Case.objects.get()
    for name, content in zip(("a_OD.png", "b_OS.png"), photographs, strict=True):
        upload = SimpleUploadedFile(name, content, "image/png")
        client.post(url("case-image-add", case.pk), {"files": [upload]})
    client.post(url("case-submit", case.pk), {"notes": NOTES, "camera": "X", "version": ""})
    claimed = case_claim(case_pk=str(case.pk), worker="test")
    results = [make_result(one, heatmap=stored_heatmap(claimed, one)) for one in claimed.images]
    return case_complete(case=claimed, results=results)


def stored_heatmap(case: Case, image) -> str:
    name = f"{case.hospital_id}/{case.pk}/{image.key}/heatmap-{case.attempt}"
    return default_storage.save(name, ContentFile(HEATMAP))


def lived_through(client, hospital, photographs: list[bytes]) -> Patient:
    """Do with a patient everything that leaves traces."""
    register(client, PERSON)
    case = photographed(client, hospital, photographs)
    register(client, TWIN)
    with hospital_scope(hospital.pk):
        patient, twin = Patient.objects.order_by("created_at")
    searched(client, url("patient-list"), "Philomena")
    client.get(url("case-detail", case.pk))
    client.get(url("image-original", case.pk, case.images[0].key))
    client.post(url("patient-update", patient.pk), {**PERSON, "sex": "O"})
    merge = {"keep": str(patient.pk), "reason": REASONS[0]}
    assert client.post(url("patient-merge", patient.pk, twin.pk), merge).status_code == 302
    client.post(url("patient-hold", patient.pk), {"reason": REASONS[2]})
    client.post(url("patient-release", patient.pk))
    wrong = {"reason": "These are the eyes of Philomena's sister"}
    assert client.post(url("case-void", case.pk), wrong).status_code == 302
    return patient


async def export(client, patient: Patient) -> bytes:
    response = await client.post(url("patient-export", patient.pk), {"reason": REASONS[1]})
    return b"".join([piece async for piece in response.streaming_content])


def test_after_an_erasure_no_trace_is_found(
    two_hospitals, client_of, async_client_of, temporary, caplog
):
    for logger in PROJECT_LOGGERS:
        caplog.set_level(logging.DEBUG, logger)
    hospital = two_hospitals.a.hospital
    nurse, admin = client_of(two_hospitals.a.staff), client_of(two_hospitals.a.admin)
    photographs = [noise_picture(), noise_picture()]
    traces = Traces(photographs, caplog, temporary)

    patient = lived_through(nurse, hospital, photographs)
    archive = async_to_sync(export)(async_client_of(two_hospitals.a.staff), patient)
    assert b"Quartermaine" in archive

    before = traces.found()
    # Names rest sealed, photographs don't: the scan of the bytes sees these, and opens those.
    assert {HEATMAP, *traces.needles[-7:]} <= set(before["database"])
    assert b"Philomena" not in before["database"]
    assert {word.encode() for word in WORDS} - {b"795557391"} <= set(before["unsealed"])
    # Nothing of the patient is ever outside the database, not even while they are there.
    assert before.keys() == {"database", "unsealed"}

    nurse.post(url("patient-erase", patient.pk), {"reason": "wish"})
    with hospital_scope(hospital.pk):
        erasure = Erasure.objects.get()
    confirmed = {"reference": erasure.reference}
    assert admin.post(url("erasure-detail", erasure.pk), confirmed).status_code == 302

    assert traces.found() == {}
    with hospital_scope(hospital.pk):
        assert (Patient.objects.count(), Case.objects.count()) == (0, 0)
    for name in ("images.files", "images.chunks"):
        assert connection.database.get_collection(name).count_documents({}) == 0
    assert chain_check(hospital.pk).fault is None
    with hospital_scope(hospital.pk):
        last = AuditEvent.objects.filter(action="erase").get()
    [told] = events_told([last], hospital_id=hospital.pk)
    assert (told.before, told.after, told.reason) == ({}, {}, "The patient wishes it")


def noise_picture() -> bytes:
    """Return a photograph of noise: no two pieces of two such files are the same."""
    file = io.BytesIO()
    Image.frombytes("RGB", (200, 200), random.randbytes(3 * 200 * 200)).save(file, "PNG")
    return file.getvalue()
