"""Train a model from a folder of labelled eyes, and ship it with its card.

Killing it loses at most the minutes since its last checkpoint: the same command with the same
options goes on. Two at once are refused, so a scheduler may call it as often as it likes; once the
model is shipped, it is refused too.

Exit status: 0 the run is finished or its time is up, 75 another process works on this run, 1 any
other error. With several GPUs: torchrun --nproc-per-node=2 manage.py train_model …
"""

import math
import os
import time
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.engine.errors import EngineError
from training.engine.checkpoints import leased
from training.engine.devices import pick_device
from training.engine.errors import RunBusy, TrainingError
from training.engine.ranks import Ranks, joined_ranks
from training.engine.recipe import Folders, Run, TrainingConfig, is_over, train
from training.engine.shipping import ship_run
from training.management.recipe_options import (
    add_recipe_options,
    config_from,
    folders_from,
    machine_from,
)


class Command(BaseCommand):
    help = "Train a grading model from labelled eyes; resumable."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--run", default="first", help="name of the run; resumes when known")
        parser.add_argument("--ship", type=Path, help="folder to save the finished model to")
        parser.add_argument(
            "--unfinished", action="store_true", help="ship it even when its time is up first"
        )
        parser.add_argument("--model-name", help="name on the card; default dr-<architecture>")
        parser.add_argument("--model-version", default="1")
        parser.add_argument("--note", default="", help="what was unusual, for the card")
        parser.add_argument(
            "--start-share",
            type=share,
            default=0.0,
            help="how much of the weights that --init FILE gave to keep in the model that is "
            "shipped, 0 to 1; choose it on val",
        )
        parser.add_argument("--minutes", type=float, help="stop after the epoch this falls in")
        add_recipe_options(parser)

    def handle(self, *args: object, **options) -> None:
        ship = options["ship"]
        self._refuse_taken(ship)
        if options["start_share"] and (not ship or options["init"] in ("scratch", "imagenet")):
            raise CommandError(
                "--start-share mixes what is shipped with what the run started from. "
                "Give it together with --ship and --init FILE."
            )
        try:
            with joined_ranks(pick_device(options["device"])) as ranks:
                run, config, folders = self._train(options, ranks)
                if ship and ranks.first:
                    self._ship_if_over(run, config, folders, options)
        except RunBusy as error:
            raise CommandError(str(error), returncode=os.EX_TEMPFAIL) from error
        except (TrainingError, EngineError) as error:
            raise CommandError(str(error)) from error

    def _train(self, options: dict[str, Any], ranks: Ranks) -> tuple[Run, TrainingConfig, Folders]:
        config, minutes = config_from(options), options["minutes"]
        folders = folders_from(options, settings.VAR_DIR / "training" / "runs" / options["run"])
        run = train(
            config,
            folders,
            machine=machine_from(options),
            ranks=ranks,
            say=self._say,
            stop_at=math.inf if minutes is None else time.time() + 60 * minutes,
        )
        return run, config, folders

    def _ship_if_over(
        self, run: Run, config: TrainingConfig, folders: Folders, options: dict[str, Any]
    ) -> None:
        if not is_over(run, config) and not options["unfinished"]:
            self._say("time is up: nothing is shipped yet, and the same command goes on")
            return
        with leased(folders.run):  # two that find the run finished don't both ship it
            self._refuse_taken(options["ship"])
            self._ship(run, config, folders, options)

    def _refuse_taken(self, ship: Path | None) -> None:
        if ship and ship.is_dir() and any(ship.iterdir()):
            raise CommandError(f"{ship.name} is there already. Choose another folder for --ship.")

    def _ship(
        self, run: Run, config: TrainingConfig, folders: Folders, options: dict[str, Any]
    ) -> None:
        run.average.cpu()  # the card's figures are those of a CPU
        manifest = ship_run(
            run,
            config,
            folders,
            directory=options["ship"],
            name=options["model_name"] or f"dr-{config.architecture}",
            version=options["model_version"],
            note=options["note"],
            start_share=options["start_share"],
            say=self._say,
        )
        self._say(f"saved {manifest.name} {manifest.version} to {options['ship']}")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def share(text: str) -> float:
    """Read a share: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text!r} is no share. Give a number from 0 to 1, as 0.75.")
    return value
