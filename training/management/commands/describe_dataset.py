"""Show what a data folder holds, as one page that opens without a network."""

import json
from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.engine.describing import describe_dataset, write_report
from training.engine.errors import TrainingError


class Command(BaseCommand):
    help = "Describe a data folder: grades, quality, sizes, cameras, duplicates, sample pictures."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("data", type=Path, help="folder with labels.csv")
        parser.add_argument("--out", type=Path, help="HTML file to write")
        parser.add_argument("--json", action="store_true", help="print the figures as JSON")
        parser.add_argument("--seed", type=int, default=1, help="which sample pictures are drawn")

    def handle(self, *args: object, **options) -> None:
        data, out = options["data"], options["out"]
        if not out and not options["json"]:
            raise CommandError("Nothing to write. Give --out report.html or --json.")
        try:
            told, samples = describe_dataset(data, seed=options["seed"])
            if out:
                write_report(data, told, samples, out)
        except TrainingError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error}. Give --out a file that can be written.") from error
        if options["json"]:
            self.stdout.write(json.dumps(told.as_json(), indent=2))
        else:
            self.stdout.write(f"{told.rows} pictures described in {out}")
