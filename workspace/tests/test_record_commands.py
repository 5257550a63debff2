"""The commands that export and sweep records, and what they refuse."""

import datetime as dt
import io
import json
import stat
import zipfile
from pathlib import Path

import pytest
from bson import ObjectId
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.audit.models import AuditEvent
from accounts.scoping import hospital_scope
from workspace.models import Case, Erasure, Patient
from workspace.patients import hospital_exporting
from workspace.patients.keeping import patient_hold, retention_policy_change
from workspace.patients.merging import patient_merge
from workspace.patients.sweeping import records_sweep
from workspace.tests.factories import graded_case_with_files, make_patient

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def hospital(two_hospitals):
    return two_hospitals.a.hospital


@pytest.fixture
def case(hospital) -> Case:
    return graded_case_with_files(make_patient(hospital, name="Amara Diallo", mrn="N-7"))


def run(*arguments) -> str:
    out = io.StringIO()
    call_command(*map(str, arguments), stdout=out)
    return out.getvalue()


def export(hospital, out: Path, *more) -> str:
    return run("hospital_export", hospital.name, "--out", out, "--reason", "Moving", *more)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def exports_of(hospital) -> int:
    with hospital_scope(hospital.pk):
        return AuditEvent.objects.filter(action="export").count()


def test_patient_export_writes_a_private_file_and_tells_the_trail(hospital, case, tmp_path):
    out = tmp_path / "record.zip"
    export_it = ("patient_export", hospital.name, case.patient_id, "--out", out, "--reason", "Copy")
    assert "1 visit" in run(*export_it)
    assert zipfile.ZipFile(out).testzip() is None
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert exports_of(hospital) == 1
    with pytest.raises(CommandError, match="is there already"):
        run(*export_it)
    assert zipfile.ZipFile(out).testzip() is None


def test_hospital_export_needs_a_reason(hospital, tmp_path):
    with pytest.raises(CommandError, match="--reason"):
        run("hospital_export", hospital.name, "--out", tmp_path / "out", "--reason", " ")
    assert exports_of(hospital) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("patient", ["nobody", "64a000000000000000000000"])
def test_patient_export_refuses_who_is_not_there(hospital, patient, tmp_path):
    out = tmp_path / "record.zip"
    with pytest.raises(CommandError, match="no patient with this id"):
        run("patient_export", hospital.name, patient, "--out", out, "--reason", "Copy")
    assert not out.exists()


def test_patient_export_of_another_hospital_finds_nobody(two_hospitals, case, tmp_path):
    other = two_hospitals.b.hospital.name
    with pytest.raises(CommandError, match="no patient with this id"):
        run("patient_export", other, case.patient_id, "--out", tmp_path / "x", "--reason", "Copy")


def test_hospital_export_holds_everything_and_reads_the_same_again(hospital, case, tmp_path):
    merged = make_patient(hospital, name="Binta Sow")
    with hospital_scope(hospital.pk):
        survivor = Patient.objects.get(pk=case.patient_id)
        patient_merge(survivor=survivor, merged=merged, by="A nurse", reason="One person")
    out = tmp_path / "export"

    assert "each read a second time" in export(hospital, out)

    patients = {one["name"]: one for one in lines(out / "patients.jsonl")}
    assert patients["Binta Sow"]["merged_into"] == str(case.patient_id)
    [exported] = lines(out / "cases.jsonl")
    photographs = [one["files"] for one in exported["photographs"]]
    assert len(photographs) == 2
    for files in photographs:
        assert (out / files["original"]).read_bytes().startswith(b"the bytes of a photograph")
        assert (out / files["attention_map"]).is_file()
    assert {one["roles"][0] for one in lines(out / "people.jsonl")} >= {"staff", "auditor"}
    events = lines(out / "audit.jsonl")
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert [one["reason"] for one in lines(out / "merges.jsonl")] == ["One person"]
    assert json.loads((out / "hospital.json").read_text())["name"] == hospital.name
    assert "as it was written" in export(hospital, out, "--check")
    names = " ".join(str(path) for path in out.rglob("*")).casefold()
    assert not any(word in names for word in ("amara", "diallo", "binta", "n-7"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*.*")} == {0o600}


def test_hospital_export_leaves_out_other_hospitals(two_hospitals, case, tmp_path):
    export(two_hospitals.b.hospital, tmp_path / "export")
    everything = b"".join(
        path.read_bytes() for path in (tmp_path / "export").rglob("*") if path.is_file()
    )
    assert b"Amara" not in everything
    assert str(case.pk).encode() not in everything


@pytest.mark.parametrize("harm", ["change", "delete", "add"])
def test_check_of_an_export_finds_what_was_changed(hospital, case, tmp_path, harm):
    out = tmp_path / "export"
    export(hospital, out)
    photograph = next((out / "photographs").iterdir())
    if harm == "change":
        photograph.write_bytes(photograph.read_bytes().replace(b"bytes", b"bites"))
    elif harm == "delete":
        photograph.unlink()
    else:
        (out / "more.txt").write_text("?")
    with pytest.raises(CommandError, match="1 files are not as listed"):
        export(hospital, out, "--check")


def test_broken_export_appears_under_no_name_and_goes_on(hospital, case, tmp_path, monkeypatch):
    out = tmp_path / "export"

    def break_off(*_, **__):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(hospital_exporting, "_event_lines", break_off)
        with pytest.raises(CommandError, match="disk is full"):
            export(hospital, out)
    assert not out.exists()
    fetched = []
    fetch = hospital_exporting._brought
    monkeypatch.setattr(
        hospital_exporting,
        "_brought",
        lambda export, file, target: fetched.append(file.path) or fetch(export, file, target),
    )

    export(hospital, out)

    # Only what has no hash of its own to be known by is fetched again.
    assert {path.split("/")[0] for path in fetched} == {"attention-maps"}
    assert "as it was written" in export(hospital, out, "--check")
    with pytest.raises(CommandError, match="there already"):
        export(hospital, out)


def test_export_after_an_erasure_keeps_nothing_of_a_broken_one(hospital, case, tmp_path):
    stale = tmp_path / "export.partial" / "photographs" / "somebody-erased.jpg"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"pixels")
    export(hospital, tmp_path / "export")
    assert not (tmp_path / "export" / "photographs" / stale.name).exists()


@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_export_says_which_photograph_is_not_as_it_came(hospital, case, tmp_path, harm):
    default_storage.delete(case.images[0].original)
    if harm == "altered":
        default_storage.save(case.images[0].original, ContentFile(b"other bytes"))
    out = tmp_path / "export"
    with pytest.raises(CommandError, match="1 stored files are not as they were"):
        export(hospital, out)
    [problem] = json.loads((out / "manifest.json").read_text())["problems"]
    assert case.images[0].key in problem["path"]
    assert "as it was written" in export(hospital, out, "--check")


def old_patient(hospital) -> Patient:
    patient = make_patient(hospital)
    with hospital_scope(hospital.pk):
        Patient.objects.filter(pk=patient.pk).update(created_at=LONG_AGO)
    return patient


def keep(hospital, *, erase: bool) -> None:
    with hospital_scope(hospital.pk):
        retention_policy_change(hospital_id=hospital.pk, keep_years=10, erase_when_due=erase)


def left(hospital) -> set:
    with hospital_scope(hospital.pk):
        return set(Patient.objects.values_list("pk", flat=True))


def test_sweep_lists_what_is_due_and_erases_only_where_the_hospital_said_so(two_hospitals):
    a, b = two_hospitals.a.hospital, two_hospitals.b.hospital
    mine, theirs, recent = old_patient(a), old_patient(b), make_patient(b)
    keep(a, erase=False), keep(b, erase=True)

    listed = run("retention_sweep", "--dry-run")

    assert f"{a.name}: 1 due; the hospital erases by hand\n  {mine.pk}  last visit never" in listed
    assert f"{b.name}: 1 due, would be erased\n  {theirs.pk}" in listed
    assert mine.name not in listed
    assert left(b) == {theirs.pk, recent.pk}
    assert "1 due, 1 erased" in run("retention_sweep")
    assert (left(a), left(b)) == ({mine.pk}, {recent.pk})
    with hospital_scope(b.pk):
        assert Erasure.objects.get().asked_by_id == ""
        assert AuditEvent.objects.get(action="erase").actor_kind == "command"


def test_sweep_erases_what_is_due_unless_it_is_held(two_hospitals):
    hospital = two_hospitals.a.hospital
    due, held = old_patient(hospital), old_patient(hospital)
    keep(hospital, erase=True)
    with hospital_scope(hospital.pk):
        patient_hold(patient=held, by="A nurse", reason="Court file 12")
    records_sweep()
    assert left(hospital) == {held.pk}
    assert due.pk != held.pk


def test_sweep_deletes_pieces_of_uploads_that_were_broken_off(db):
    chunks = connection.database.get_collection("images.chunks")
    files_id = ObjectId.from_datetime(LONG_AGO)
    chunks.insert_one({"files_id": files_id, "n": 0, "data": b"pixels"})
    run("retention_sweep", "--dry-run")
    assert chunks.count_documents({}) == 1
    run("retention_sweep")
    assert chunks.count_documents({}) == 0
