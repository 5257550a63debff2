"""Compare a model's engines on real eyes, and write into its manifest which of them may serve."""

from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.engine.artefact import load_artefact
from inference.engine.errors import EngineError
from training.engine.errors import TrainingError
from training.engine.parity import measure_parity, parity_lines, write_parity


class Command(BaseCommand):
    help = (
        "Compare OpenVINO and shorter precisions with torch in float32 on val, and write it into "
        "the model's manifest and card. Do it before the model is registered."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--model", type=Path, required=True, help="a model's folder")
        parser.add_argument(
            "--data", type=Path, default=settings.TRAINING_DATA, help="folder with labels.csv"
        )
        parser.add_argument("--dry-run", action="store_true", help="print, and write nothing")

    def handle(self, *args: object, model: Path, data: Path, **options) -> None:
        try:
            parity = measure_parity(
                load_artefact(model),
                data=data,
                cache=settings.VAR_DIR / "training" / "cache",
                say=self.stdout.write,
            )
            for line in parity_lines(parity):
                self.stdout.write(line)
            if not options["dry_run"]:
                write_parity(model, parity)
        except (TrainingError, EngineError) as error:
            raise CommandError(str(error)) from error
