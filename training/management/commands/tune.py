"""Search for good settings with short runs, and print the command that trains with the best.

Killing it loses at most minutes: the same command with the same options goes on. Only train and
val are looked at. Exit status as of train_model.
"""

import os
from argparse import ArgumentParser
from dataclasses import replace

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.engine.errors import EngineError
from training.engine.errors import RunBusy, TrainingError
from training.engine.tuning import SPACE, TABLE, USUAL, search, table
from training.management.recipe_options import (
    add_recipe_options,
    command_line,
    config_from,
    folders_from,
    machine_from,
)


class Command(BaseCommand):
    help = "Search for good settings on train and val; resumable."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", default="first", help="of the search; resumes when known")
        parser.add_argument("--trials", type=int, default=20, help="how many, with earlier ones")
        parser.add_argument(
            "--search", nargs="+", choices=list(SPACE), default=list(USUAL), help="which settings"
        )
        add_recipe_options(parser)
        parser.set_defaults(epochs=4)

    def handle(self, *args: object, **options) -> None:
        folder = settings.VAR_DIR / "training" / "tune" / options["name"]
        folders = folders_from(options, folder)
        try:
            config = config_from(options)
            told = search(
                config,
                folders,
                trials=options["trials"],
                names=tuple(options["search"]),
                machine=machine_from(options),
                say=self._say,
            )
        except RunBusy as error:
            raise CommandError(str(error), returncode=os.EX_TEMPFAIL) from error
        except (TrainingError, EngineError) as error:
            raise CommandError(str(error)) from error
        best = replace(config, **told[0].settings)
        self._say(f"\n{table(told)}\n\nsaved as {TABLE} in the search's folder")
        self._say("the best settings, for as many epochs as the search used; raise --epochs:")
        self._say(command_line(best, folders))

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
