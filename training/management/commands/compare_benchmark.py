"""Measure graded photographs against a benchmark's labels."""

import json
from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.engine.card import benchmark_lines
from training.engine.comparing import compare_tables
from training.engine.errors import TrainingError


class Command(BaseCommand):
    help = "Compare the grades of PREDICTED with those of BENCHMARK, photograph by photograph."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("predicted", type=Path, help="CSV that grade_folder wrote")
        parser.add_argument("benchmark", type=Path, help="CSV with a name and a grade 0 to 4")
        parser.add_argument("--out", type=Path, help="folder for comparison.json and labels.png")
        parser.add_argument("--json", action="store_true", help="print everything as JSON")

    def handle(self, *args: object, **options) -> None:
        try:
            told = compare_tables(options["predicted"], options["benchmark"])
            if options["out"]:
                # Only here: drawing takes seconds to import.
                from training.engine.report import write_comparison  # noqa: PLC0415

                write_comparison(options["out"], told)
        except TrainingError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error}. Give --out a folder that can be written.") from error
        if options["json"]:
            self.stdout.write(json.dumps(told, indent=2, ensure_ascii=False))
            return
        self.stdout.write("\n\n".join(benchmark_lines(told)))
        if options["out"]:
            self.stdout.write(f"\nNames and figures: {options['out'] / 'comparison.json'}.")
