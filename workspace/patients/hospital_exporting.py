"""Export everything of one hospital: for moving away, and for the keeping of its records.

The folder appears under its name once it is whole and was read a second time. What an export that
broke off has left is used by the next one: files that are there and right are not fetched again.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.core.files.storage import default_storage
from django.utils import timezone

from accounts.audit.actions import Action
from accounts.audit.models import AuditEvent
from accounts.audit.selectors import events_told
from accounts.audit.services import audit_record
from accounts.models import Hospital
from accounts.scoping import hospital_scope
from accounts.selectors import member_list
from drservice.common.errors import ServiceFault
from workspace.models import Case, Erasure, Patient, PatientMerge
from workspace.patients.export_files import PIECE_BYTES, facts_on_disk, written
from workspace.patients.exporting import (
    StoredFile,
    as_line,
    case_document,
    event_document,
    merge_document,
    record_document,
    stored_files,
)
from workspace.patients.keeping import retention_policy

SCHEMA, SCHEMA_VERSION = "drservice-hospital", 1
MANIFEST = "manifest.json"
EVENTS_AT_ONCE = 500


class ExportFault(ServiceFault):
    """The export could not be made, or is not what it should be."""


@dataclass
class HospitalExport:
    """What was written, and what could not be."""

    folder: Path
    files: dict[str, dict] = field(default_factory=dict)
    problems: list[dict] = field(default_factory=list)


def hospital_export(*, hospital: Hospital, out: Path, reason: str) -> HospitalExport:
    """Write everything of a hospital into a new folder and read it again.

    Photographs that are missing or changed in the store are listed as problems; everything else
    is there all the same. Raises ExportFault when the folder is there already, or when what was
    written reads otherwise.
    """
    if out.exists():
        raise ExportFault(f"{out} is there already. Name a new folder.")
    partial = out.with_name(f"{out.name}.partial")
    partial.mkdir(mode=0o700, parents=True, exist_ok=True)
    with hospital_scope(hospital.pk):
        audit_record(
            action=Action.EXPORT,
            subject_kind="hospital",
            subject_id=hospital.pk,
            reason=reason,
        )
        export = _write_all(hospital, partial)
    _require_the_same(export)
    partial.rename(out)
    export.folder = out
    return export


def export_check(folder: Path) -> list[str]:
    """Read an export again and return the files that are missing, changed or not listed."""
    listed = {one["path"]: one for one in json.loads((folder / MANIFEST).read_bytes())["files"]}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    odd = there - set(listed) - {MANIFEST}
    wrong = {path for path, one in listed.items() if facts_on_disk(folder / path) != _facts(one)}
    return sorted(odd | wrong)


def _facts(listed: dict) -> dict:
    return {name: value for name, value in listed.items() if name != "path"}


def _write_all(hospital: Hospital, folder: Path) -> HospitalExport:
    export = HospitalExport(folder)
    wanted = {}
    # Cases before patients: whoever is registered meanwhile has a record for their case.
    _write(export, "cases.jsonl", _case_lines(wanted))
    _write(
        export,
        "patients.jsonl",
        map(as_line, map(_patient, Patient.objects.order_by("pk").iterator())),
    )
    merges = PatientMerge.objects.order_by("pk")
    _write(export, "merges.jsonl", (as_line(merge_document(one)) for one in merges))
    erasures = Erasure.objects.order_by("pk")
    _write(export, "erasures.jsonl", (as_line(_erasure(one)) for one in erasures))
    _write(export, "people.jsonl", (as_line(_person(one)) for one in member_list(hospital)))
    for file in wanted.values():
        _fetch(export, file)
    _write(export, "audit.jsonl", _event_lines(hospital))
    _write(export, "hospital.json", [as_line(_hospital(hospital))])
    _forget_others(export)
    _write_manifest(export)
    return export


def _write(export: HospitalExport, path: str, lines: Iterable[bytes]) -> None:
    export.files[path] = written(export.folder / path, lines)


def _case_lines(wanted: dict[str, StoredFile]) -> Iterator[bytes]:
    """Give a line for each case, and note the files that it names."""
    for case in Case.objects.order_by("pk").iterator(chunk_size=200):
        document = case_document(case)
        wanted.update({file.path: file for file in stored_files([document])})
        yield as_line(document)


def _patient(patient: Patient) -> dict:
    more = {"merged_into": patient.merged_into, "not_same_as": patient.not_same_as}
    return {**record_document(patient), **more}


def _erasure(erasure: Erasure) -> dict:
    names = ("patient_id", "state", "reason", "asked_by", "asked_at", "decided_by", "decided_at")
    return {name: getattr(erasure, name) for name in names}


def _person(membership) -> dict:
    return {
        "id": membership.user_id,
        "email": membership.user.email,
        "name": membership.name,
        "roles": membership.roles,
        "is_active": membership.is_active,
        "since": membership.created_at,
    }


def _hospital(hospital: Hospital) -> dict:
    policy = retention_policy(hospital.pk)
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "exported_at": timezone.now(),
        "id": hospital.pk,
        "name": hospital.name,
        "created_at": hospital.created_at,
        "keep_years": policy.keep_years,
        "erase_when_due": policy.erase_when_due,
        "hold_reason": policy.hold_reason,
        "held_at": policy.held_at,
    }


def _event_lines(hospital: Hospital) -> Iterator[bytes]:
    seen = 0
    while True:
        batch = AuditEvent.objects.filter(seq__gt=seen).order_by("seq")[:EVENTS_AT_ONCE]
        told = events_told(batch, hospital_id=hospital.pk)
        for one in told:
            yield as_line({**event_document(one), "hash": one.event.hash})
        if not told:
            return
        seen = told[-1].event.seq


def _fetch(export: HospitalExport, file: StoredFile) -> None:
    """Bring one stored file, unless an export before has brought it whole."""
    target = export.folder / file.path
    there = facts_on_disk(target) if file.sha256 else None
    if there is None or there["sha256"] != file.sha256:
        there = _brought(export, file, target)
    if there is None:
        return
    export.files[file.path] = there
    if file.sha256 and there["sha256"] != file.sha256:
        problem = f"not what came in: its SHA-256 was {file.sha256}"
        export.problems.append({"path": file.path, "problem": problem})


def _brought(export: HospitalExport, file: StoredFile, target: Path) -> dict | None:
    try:
        with default_storage.open(file.stored) as stored:
            return written(target, stored.chunks(PIECE_BYTES))
    except FileNotFoundError:
        export.problems.append({"path": file.path, "problem": "missing from the store"})
        return None


def _forget_others(export: HospitalExport) -> None:
    """Delete what an export before has left and what is no more: erased meanwhile, for instance."""
    for path in list(export.folder.rglob("*")):
        if path.is_file() and str(path.relative_to(export.folder)) not in export.files:
            path.unlink()
    for path in sorted(export.folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            shutil.rmtree(path)


def _write_manifest(export: HospitalExport) -> None:
    files = [{"path": path, **facts} for path, facts in sorted(export.files.items())]
    manifest = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "files": files,
        "problems": export.problems,
    }
    written(export.folder / MANIFEST, [as_line(manifest)])


def _require_the_same(export: HospitalExport) -> None:
    wrong = export_check(export.folder)
    if wrong:
        raise ExportFault(
            f"{len(wrong)} files read otherwise than they were written, {wrong[0]} first. Check "
            "the disk, and run the export again: it goes on from what is there."
        )
