"""Write everything that is kept about one patient into a ZIP file."""

from pathlib import Path

from bson import ObjectId
from bson.errors import InvalidId
from django.core.management.base import CommandError

from accounts.audit.commands import ActingCommand
from accounts.management.hospitals import hospital_named
from accounts.scoping import hospital_scope
from drservice.common.errors import ServiceFault
from workspace.models import Patient
from workspace.patients.export_files import new_file
from workspace.patients.exporting import patient_archive, patient_export_begin


class Command(ActingCommand):
    help = (
        "Export a patient: details, visits, grades and audit events as JSON, original photographs "
        "and attention maps, and the hash of every file. The patient is named by the id in the "
        "address of their page, so that no name stands in the shell's history."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("hospital", help="the hospital's name")
        parser.add_argument("patient", help="the patient's id, as in the address of their page")
        parser.add_argument("--out", type=Path, required=True, help="the ZIP file to write")
        parser.add_argument("--reason", required=True, help="for the audit trail")

    def handle(self, *args, hospital: str, patient: str, out: Path, reason: str, **options) -> None:
        found = hospital_named(hospital)
        with hospital_scope(found.pk):
            self._export(_patient(patient), out, reason)

    def _export(self, patient: Patient, out: Path, reason: str) -> None:
        try:
            document = patient_export_begin(patient=patient, reason=reason)
            with new_file(out) as file:
                for piece in patient_archive(document):
                    file.write(piece)
        except (ServiceFault, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{out} holds the record with {len(document['cases'])} visits.")


def _patient(text: str) -> Patient:
    try:
        found = Patient.objects.filter(pk=ObjectId(text)).first()
    except InvalidId:
        found = None
    if found is None:
        raise CommandError("This hospital has no patient with this id.")
    return found
