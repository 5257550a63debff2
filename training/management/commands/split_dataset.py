"""Split a data folder for good, or freeze and extend the split that it has."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.engine.errors import TrainingError
from training.engine.splitting import SplitPlan, extend_split, freeze_split, make_split


class Command(BaseCommand):
    help = "Split by patient and duplicate group, even in every grade and camera; then freeze it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        preset = SplitPlan()
        parser.add_argument("data", type=Path, help="folder with labels.csv")
        parser.add_argument("--val", type=float, default=preset.val)
        parser.add_argument("--test", type=float, default=preset.test)
        parser.add_argument("--seed", type=int, default=preset.seed)
        parser.add_argument(
            "--second-site",
            action="append",
            default=[],
            metavar="SOURCE",
            help="keep this source whole, for the outside check",
        )
        way = parser.add_mutually_exclusive_group()
        way.add_argument("--add", action="store_true", help="split new rows; old ones stay")
        way.add_argument("--freeze", action="store_true", help="freeze the splits as they stand")

    def handle(self, *args: object, **options) -> None:
        data = options["data"]
        plan = SplitPlan(
            val=options["val"],
            test=options["test"],
            seed=options["seed"],
            second_site=tuple(options["second_site"]),
        )
        try:
            if options["freeze"]:
                manifest = freeze_split(data)
            elif options["add"]:
                manifest = extend_split(data, plan)
            else:
                manifest = make_split(data, plan)
        except TrainingError as error:
            raise CommandError(str(error)) from error
        for name, told in manifest["splits"].items():
            grades = " ".join(f"{grade or 'none'}:{n}" for grade, n in told["grades"].items())
            line = f"{name}: {told['rows']} rows, {told['patients']} patients, grades {grades}"
            self.stdout.write(line)
        if manifest["without_split"]:
            self.stdout.write(f"{manifest['without_split']} rows without a split")
