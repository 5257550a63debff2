"""Export everything that is kept about one patient: what the patient may ask for.

docs/patient-export.md describes the file. Nothing in it but its contents names the patient: files
are called by ids.
"""

import datetime as dt
import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from bson import ObjectId
from django.core.files.storage import default_storage
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent
from accounts.audit.selectors import ToldEvent, events_told
from accounts.audit.services import audited
from workspace.case_parts import EyeImage, StateChange
from workspace.models import Case, Patient, PatientMerge
from workspace.services import patient_secure
from workspace.trail import patient_facts, patient_record

SCHEMA, SCHEMA_VERSION = "drservice-patient", 1
PIECE_BYTES = 1 << 20
CASE_FACTS = (
    "state",
    "created_at",
    "created_by",
    "submitted_at",
    "camera",
    "dilated",
    "acuity_right",
    "acuity_left",
    "absent_eye",
    "absent_eye_reason",
    "notes",
    "tries",
    "failure",
)
MERGE_FACTS = (
    "survivor_id",
    "merged_id",
    "case_ids",
    "reason",
    "merged_by",
    "merged_at",
    "undone_by",
    "undone_at",
    "undo_reason",
)
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "TIFF": "tif", "WEBP": "webp"}


@dataclass(frozen=True)
class StoredFile:
    """A file that belongs to a record: where it is stored, and what it is called when exported.

    `sha256` is the one noted when it came in; empty for what the service made itself.
    """

    stored: str
    path: str
    sha256: str = ""


@dataclass
class Manifest:
    """What was written so far, each file with its hash, and what could not be written."""

    files: list[dict] = field(default_factory=list)
    problems: list[dict] = field(default_factory=list)

    def as_json(self) -> bytes:
        return as_json({"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **vars(self)})


@audited
def patient_export_begin(*, patient: Patient, reason: str) -> dict:
    """Return the patient's document, once the audit trail knows of it. Raises PatientGone."""
    patient = patient_secure(patient.pk)
    document = patient_document(patient)
    patient_record(Action.EXPORT, patient, after={"cases": len(document["cases"])}, reason=reason)
    return document


def patient_archive(document: dict) -> Iterator[bytes]:
    """Give a ZIP archive of a patient's document and files in pieces, none of them large.

    The manifest comes last, as it names the hash of everything before it.
    """
    sink, manifest = _Sink(), Manifest()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        yield from _add(archive, sink, manifest, "patient.json", [as_json(document)])
        for stored in stored_files(document["cases"]):
            yield from _add_stored(archive, sink, manifest, stored)
        archive.writestr(_entry("manifest.json"), manifest.as_json())
    yield sink.take()


def patient_document(patient: Patient) -> dict:
    """Return everything that is kept about a live patient, ready for JSON."""
    records = [patient, *Patient.objects.tombstones_of(patient.pk)]
    pks = [one.pk for one in records]
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "exported_at": timezone.now(),
        "patient": record_document(patient),
        "merged_records": [_merged_record(one) for one in records[1:]],
        "cases": [case_document(case) for case in _cases(pks)],
        "audit": _events(patient.hospital_id, pks),
    }


def stored_files(cases: list[dict]) -> list[StoredFile]:
    """Return the files that the photographs of some cases name."""
    photographs = [one for case in cases for one in case["photographs"]]
    return [found for one in photographs for found in one["files"].values()]


def as_json(value) -> bytes:
    return json.dumps(value, cls=_Encoder, ensure_ascii=False, indent=2).encode()


def as_line(value) -> bytes:
    """Return a value as one line of JSON."""
    return json.dumps(value, cls=_Encoder, ensure_ascii=False).encode() + b"\n"


def case_document(case: Case) -> dict:
    """Return everything that is kept about a case, ready for JSON."""
    return {
        "id": case.pk,
        "patient_id": case.patient_id,
        "reference": case.reference,
        **{name: getattr(case, name) for name in CASE_FACTS},
        "outcome": _embedded(case.outcome) if case.outcome else None,
        "photographs": [_photograph(case, image) for image in case.images],
        "history": [_step(step) for step in case.history],
    }


def record_document(patient: Patient) -> dict:
    """Return what a patient's own record says, without visits."""
    hold = {"since": patient.held_at, "by": patient.held_by, "reason": patient.hold_reason}
    return {
        "id": patient.pk,
        "registered_at": patient.created_at,
        **patient_facts(patient),
        "legal_hold": hold if patient.held else None,
    }


def merge_document(merge: PatientMerge) -> dict:
    return {name: getattr(merge, name) for name in MERGE_FACTS}


def event_document(told: ToldEvent) -> dict:
    """Return one event of the audit trail; where somebody sat when they acted is left out."""
    event = told.event
    return {
        "number": event.seq,
        "at": event.at,
        "action": event.action,
        "subject": f"{event.subject_kind} {event.subject_id}".strip(),
        "by": told.actor_label,
        "before": told.before,
        "after": told.after,
        "reason": told.reason,
    }


def _merged_record(patient: Patient) -> dict:
    merge = PatientMerge.objects.get(merged_id=patient.pk, undone_at=None)
    return {**record_document(patient), "merge": merge_document(merge)}


def _cases(patient_pks: list[ObjectId]) -> list[Case]:
    return list(Case.objects.filter(patient_id__in=patient_pks).order_by("created_at"))


def _events(hospital_id: ObjectId, patient_pks: list[ObjectId]) -> list[dict]:
    events = AuditEvent.objects.filter(patient_id__in=patient_pks).order_by("seq")
    return [event_document(told) for told in events_told(events, hospital_id=hospital_id)]


def _photograph(case: Case, image: EyeImage) -> dict:
    facts = _embedded(image, without=("original", "display", "grading"))
    grading = image.grading
    return {
        **facts,
        "grading": _embedded(grading, without=("heatmap",)) if grading else None,
        "files": _image_files(case, image),
    }


def _image_files(case: Case, image: EyeImage) -> dict[str, StoredFile]:
    suffix = SUFFIXES.get(image.format, "bin")
    name = f"{case.pk}-{image.key}"
    original = StoredFile(image.original, f"photographs/{name}.{suffix}", image.sha256)
    if image.grading is None or not image.grading.heatmap:
        return {"original": original}
    heatmap = StoredFile(image.grading.heatmap, f"attention-maps/{name}.png")
    return {"original": original, "attention_map": heatmap}


def _step(step: StateChange) -> dict:
    return {**_embedded(step, without=("words",)), "reason": step.why}


def _embedded(part, without: tuple[str, ...] = ()) -> dict:
    names = [one.attname for one in part._meta.concrete_fields if one.attname != "id"]
    return {name: getattr(part, name) for name in names if name not in without}


def _add_stored(archive, sink: "_Sink", manifest: Manifest, file: StoredFile) -> Iterator[bytes]:
    """Add a stored file; one that is missing or changed is told in the manifest, not hidden."""
    try:
        stored = default_storage.open(file.stored)
    except FileNotFoundError:
        manifest.problems.append({"path": file.path, "problem": "missing from the store"})
        return
    with stored:
        pieces = stored.chunks(PIECE_BYTES)
        yield from _add(archive, sink, manifest, file.path, pieces, expected=file.sha256)


def _add(
    archive, sink: "_Sink", manifest: Manifest, path: str, pieces, expected: str = ""
) -> Iterator[bytes]:
    digest, size_bytes = hashlib.sha256(), 0
    with archive.open(_entry(path), "w", force_zip64=True) as entry:
        for piece in pieces:
            digest.update(piece)
            size_bytes += len(piece)
            entry.write(piece)
            yield sink.take()
    found = digest.hexdigest()
    manifest.files.append({"path": path, "sha256": found, "size_bytes": size_bytes})
    if expected and found != expected:
        problem = f"not what came in: its SHA-256 was {expected}"
        manifest.problems.append({"path": path, "problem": problem})


def _entry(path: str) -> zipfile.ZipInfo:
    moment = timezone.now().astimezone(dt.UTC)
    entry = zipfile.ZipInfo(path, moment.timetuple()[:6])
    # Only its owner may read what is unpacked.
    entry.external_attr = 0o600 << 16
    return entry


class _Sink:
    """Where the archive is written to: nothing is kept but what was not taken yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


class _Encoder(DjangoJSONEncoder):
    def default(self, value):
        if isinstance(value, ObjectId):
            return str(value)
        return value.path if isinstance(value, StoredFile) else super().default(value)
