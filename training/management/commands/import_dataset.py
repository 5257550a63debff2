"""Bring labelled pictures from elsewhere into a data folder of this project."""

import re
from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.engine.errors import TrainingError
from training.engine.importing import REFUSED, ImportPlan, import_dataset


class Command(BaseCommand):
    help = "Import labelled pictures: a folder per grade, a CSV with images, or a data folder."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", type=Path, help="folder or CSV file")
        parser.add_argument("--out", type=Path, required=True, help="data folder, new or not")
        parser.add_argument("--name", help="name of the source; default: the folder's or file's")
        parser.add_argument("--images", type=Path, help="where a CSV's pictures lie")
        parser.add_argument(
            "--shard-mb", type=int, default=0, help="pack pictures into tar files of this size"
        )
        parser.add_argument(
            "--without-splits", action="store_true", help="leave a data folder's splits behind"
        )
        parser.add_argument("--strict", action="store_true", help="fail when a row was refused")

    def handle(self, *args: object, **options) -> None:
        source, out = options["source"], options["out"]
        plan = ImportPlan(
            source=source,
            name=options["name"]
            or re.sub(r"[^a-z0-9]+", "-", source.resolve().stem.lower()).strip("-"),
            images=options["images"],
            shard_mb=options["shard_mb"],
            with_splits=not options["without_splits"],
        )
        try:
            told = import_dataset(plan, out)
        except TrainingError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error}. Give --out a folder that can be written.") from error
        self.stdout.write(f"{told.rows} pictures came in as {plan.name}.")
        if not told.refused:
            return
        said = f"{told.refused} rows were refused; {out / plan.name / REFUSED} says why."
        if options["strict"]:
            raise CommandError(said)
        self.stdout.write(said)
