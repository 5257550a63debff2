"""Train a model from a folder of labelled eyes, and ship it with its card.

Stopping it loses at most the epoch under way: the same command with the same options goes on.
"""

import time
from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.engine.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE
from inference.engine.errors import EngineError
from inference.engine.schemas import Preprocessing
from training.engine.errors import TrainingError
from training.engine.recipe import BALANCES, Folders, TrainingConfig, train
from training.engine.shipping import ship_run


class Command(BaseCommand):
    help = "Train a grading model from labelled eyes; resumable."

    def add_arguments(self, parser: ArgumentParser) -> None:
        preset = TrainingConfig()
        parser.add_argument("--data", type=Path, required=True, help="folder with labels.csv")
        parser.add_argument("--run", default="first", help="name of the run; resumes when known")
        parser.add_argument("--ship", type=Path, help="folder to save the finished model to")
        parser.add_argument("--model-name", help="name on the card; default dr-<architecture>")
        parser.add_argument("--model-version", default="1")
        parser.add_argument("--note", default="", help="what was unusual, for the card")
        parser.add_argument("--minutes", type=float, help="stop after the epoch this falls in")
        parser.add_argument(
            "--architecture", choices=list(ARCHITECTURES), default=DEFAULT_ARCHITECTURE
        )
        parser.add_argument(
            "--size-px", type=int, nargs=2, default=list(preset.preprocessing.size_px)
        )
        parser.add_argument("--epochs", type=int, default=preset.epochs)
        parser.add_argument("--small-share", type=float, default=preset.small_share)
        parser.add_argument("--batch-size", type=int, default=preset.batch_size)
        parser.add_argument("--learning-rate", type=float, default=preset.learning_rate)
        parser.add_argument("--balance", choices=BALANCES, default=preset.balance)
        parser.add_argument("--painted-share", type=float, default=preset.painted_share)
        parser.add_argument("--bf16", action="store_true", help="faster where the CPU has it")
        parser.add_argument("--seed", type=int, default=preset.seed)

    def handle(self, *args: object, **options) -> None:
        config = _config(options)
        where = settings.VAR_DIR / "training"
        folders = Folders(
            data=options["data"], cache=where / "cache", run=where / "runs" / options["run"]
        )
        stop_at = time.time() + 60 * (options["minutes"] or float("inf"))
        try:
            run = train(config, folders, say=self._say, stop_at=stop_at)
            if not options["ship"]:
                return
            manifest = ship_run(
                run,
                config,
                folders,
                directory=options["ship"],
                name=options["model_name"] or f"dr-{config.architecture}",
                version=options["model_version"],
                note=options["note"],
            )
        except (TrainingError, EngineError) as error:
            raise CommandError(str(error)) from error
        self._say(f"saved {manifest.name} {manifest.version} to {options['ship']}")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _config(options: dict) -> TrainingConfig:
    names = (
        "architecture epochs small_share batch_size learning_rate balance painted_share bf16 seed"
    )
    return TrainingConfig(
        preprocessing=Preprocessing(size_px=tuple(options["size_px"])),
        **{name: options[name] for name in names.split()},
    )
