"""Recompute the figures of a model's card from its weights."""

import json
from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.engine.artefact import load_artefact
from inference.engine.errors import EngineError
from training.engine.card import split_section
from training.engine.errors import TrainingError
from training.engine.evaluation import evaluate_artefact

SPLITS = ("val", "second_site")
TOLERANCE = 0.005  # another CPU adds in another order; a rank or two may change


class Command(BaseCommand):
    help = "Print a model's figures on a split, from its weights; says whether the card agrees."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, required=True, help="folder with labels.csv")
        parser.add_argument("--split", choices=SPLITS, default="val")
        parser.add_argument(
            "--model", type=Path, default=settings.BASE_DIR / "inference" / "shipped"
        )
        parser.add_argument("--json", action="store_true", help="print the figures as JSON")

    def handle(self, *args: object, **options) -> None:
        split = options["split"]
        try:
            artefact = load_artefact(options["model"])
            told = evaluate_artefact(
                artefact,
                data=options["data"],
                cache=settings.VAR_DIR / "training" / "cache",
                split=split,
            )
        except (TrainingError, EngineError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(told, indent=2))
            return
        manifest = artefact.manifest
        title = f"{manifest.name} {manifest.version} on {split}"
        self.stdout.write("\n\n".join(split_section(title, told)))
        self.stdout.write("\n" + _comparison(told, manifest.metrics.get(split)))


def _comparison(told: dict, on_card: dict | None) -> str:
    if on_card is None:
        return "The card has no figures for this split."
    now, then = told["referable"]["auc"]["value"], on_card["referable"]["auc"]["value"]
    if abs(now - then) <= TOLERANCE:
        return f"The card agrees: referable area {then:.4f} there, {now:.4f} here."
    return f"THE CARD DISAGREES: referable area {then:.4f} there, {now:.4f} here."
