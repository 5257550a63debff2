"""Grow a trained ResNet-18 into weights that a ResNet-101 starts to learn from."""

from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.engine.errors import EngineError
from training.engine.errors import TrainingError
from training.engine.growing import grow_file


class Command(BaseCommand):
    help = "Grow a trained resnet18 into a resnet101 for `train_model --init FILE`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--data", type=Path, default=settings.TRAINING_DATA, help="folder with labels.csv"
        )
        parser.add_argument("--model", type=Path, required=True, help="folder of a resnet18")
        parser.add_argument("--out", type=Path, required=True, help="new .safetensors file")
        parser.add_argument("--fit-steps", type=int, default=300, help="for each missing block")

    def handle(self, *args: object, **options) -> None:
        out = options["out"]
        if out.exists():
            raise CommandError(f"{out.name} is there already. Choose another name.")
        try:
            grow_file(
                options["model"],
                out,
                data=options["data"],
                cache=settings.VAR_DIR / "training" / "cache",
                fit_steps=options["fit_steps"],
                say=self.stdout.write,
            )
        except (TrainingError, EngineError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"saved; go on with: train_model --arch resnet101 --init {out}")
