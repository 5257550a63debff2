"""Grade a folder of photographs into a CSV file. Needs no server and no database."""

from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from inference.engine.backends import ENGINES, PRECISIONS
from inference.engine.errors import EngineError
from inference.engine.folder import FolderRun, Summary
from inference.engine.grader import load_grader

INTERRUPTED = 130


class Command(BaseCommand):
    help = (
        "Grade every photograph in a folder and below it into a CSV file, a row for each. "
        "Links to other folders are not followed. A run that was stopped goes on by --resume."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR")
        parser.add_argument("--out", type=Path, required=True, metavar="CSV")
        parser.add_argument(
            "--model", type=Path, default=settings.BASE_DIR / "inference" / "shipped"
        )
        parser.add_argument("--device", choices=["auto", *ENGINES], default="auto")
        parser.add_argument("--precision", choices=PRECISIONS, default="auto")
        parser.add_argument("--threads", type=int, default=2, help="that read photographs")
        again = parser.add_mutually_exclusive_group()
        again.add_argument("--resume", action="store_true", help="go on with a stopped run")
        again.add_argument("--restart", action="store_true", help="write the CSV file anew")

    def handle(self, *args: object, folder: Path, out: Path, **options) -> None:
        if options["threads"] < 1:
            raise CommandError("--threads must be 1 or more.")
        try:
            grader = load_grader(
                options["model"], device=options["device"], precision=options["precision"]
            )
            grader.self_check()
            run = FolderRun(folder, out, grader, threads=options["threads"])
            done = run.start(resume=options["resume"], restart=options["restart"])
            total = self._grade(run, done)
        except EngineError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(
                f"{error.filename or out} can't be used: {error.strerror}. Check the disk and your "
                "rights, then go on by --resume."
            ) from error
        self.stdout.write(
            f"{total.graded} graded, {total.rejected} rejected, {total.failed} failed by "
            f"{grader.version} on {grader.backend}"
            + (f"; {done} were there before" if done else "")
        )
        self._say_what_was_left_out(run)

    def _grade(self, run: FolderRun, done: int) -> Summary:
        total = Summary()
        files = len(run.listing.names)
        with tqdm(total=files, initial=done, unit="photo", disable=None) as bar:
            try:
                for part in run.rows(done):
                    total.graded += part.graded
                    total.rejected += part.rejected
                    total.failed += part.failed
                    bar.update(part.graded + part.rejected + part.failed)
            except KeyboardInterrupt:
                raise CommandError(
                    f"Stopped after {bar.n} of {files}. The same command with --resume goes on.",
                    returncode=INTERRUPTED,
                ) from None
        return total

    def _say_what_was_left_out(self, run: FolderRun) -> None:
        if run.listing.ignored:
            self.stdout.write(f"other files, ignored: {run.listing.ignored}")
        if run.listing.links:
            self.stdout.write(f"links to folders, not followed: {run.listing.links}")
