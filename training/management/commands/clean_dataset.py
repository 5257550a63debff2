"""Put into quarantine what would spoil a model; nothing is deleted."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.engine.cleaning import MIN_EDGE_PX, clean_dataset
from training.engine.errors import TrainingError

SHOWN = 20


class Command(BaseCommand):
    help = "Find broken pictures, duplicates and conflicting labels; quarantine, never delete."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("data", type=Path, help="folder with labels.csv")
        parser.add_argument("--dry-run", action="store_true", help="tell, and write nothing")
        parser.add_argument("--out", type=Path, help="write there and not into the data folder")
        parser.add_argument("--min-px", type=int, default=MIN_EDGE_PX, help="shortest edge allowed")

    def handle(self, *args: object, **options) -> None:
        try:
            told = clean_dataset(
                options["data"],
                out=options["out"],
                write=not options["dry_run"],
                min_edge_px=options["min_px"],
            )
        except TrainingError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{told.rows} pictures, {told.groups} groups of the same photograph")
        for link, count in told.links.items():
            self.stdout.write(f"  {link}: {count}")
        self.stdout.write(f"{len(told.across)} groups or patients stood in two splits")
        self.stdout.write(f"{len(told.quarantine)} rows in quarantine")
        for reason, count in sorted(told.reasons.items()):
            self.stdout.write(f"  {reason}: {count}")
        for row in told.quarantine[:SHOWN]:
            beside = f" beside {row['beside']}" if row["beside"] else ""
            self.stdout.write(f"  {row['image']}: {row['reason']}{beside}")
        if len(told.quarantine) > SHOWN:
            self.stdout.write(f"  and {len(told.quarantine) - SHOWN} more")
        if options["dry_run"]:
            self.stdout.write("Nothing was written.")
