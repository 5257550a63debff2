"""Compute a model's figures on a split again, from its weights; write them, plots and a page."""

import json
from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from inference.engine.artefact import Artefact, load_artefact
from inference.engine.errors import EngineError
from inference.errors import ModelUnavailable
from inference.model_files import local_directory
from inference.selectors import champion_alias, model_by_label
from training.engine.card import comparison_table, split_section
from training.engine.errors import TrainingError
from training.engine.evaluation import compare_models, evaluate_artefact, figures
from training.engine.predictions import Predictions

SPLITS = ("val", "second_site", "test")
SHIPPED = settings.BASE_DIR / "inference" / "shipped"
CHAMPION = "champion"
TOLERANCE = 0.005  # another CPU adds in another order; a rank or two may change


class Command(BaseCommand):
    help = "Print a model's figures on a split, from its weights; says whether the card agrees."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--split", choices=SPLITS, default="val")
        parser.add_argument(
            "--data",
            type=Path,
            default=settings.TRAINING_DATA,
            help="folder with labels.csv; default: the setting TRAINING_DATA",
        )
        parser.add_argument(
            "--model",
            default=SHIPPED,
            help="a model's folder, NAME:VERSION in the registry, or champion; default: as shipped",
        )
        parser.add_argument("--against", help="another model, named in the same way, to compare")
        parser.add_argument(
            "--out", type=Path, help="folder for predictions.csv, figures.json, report.html, plots"
        )
        parser.add_argument("--json", action="store_true", help="print the figures as JSON")

    def handle(self, *args: object, **options) -> None:
        try:
            self._evaluate(**options)
        except (TrainingError, EngineError, ModelUnavailable) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error}. Give --out a folder that can be written.") from error

    def _evaluate(self, *, split: str, data: Path, out: Path | None, **options) -> None:
        artefact = _load(options["model"])
        predictions = _predict(artefact, data, split)
        told, compared, other = figures(predictions), None, None
        if options["against"]:
            other = _load(options["against"])
            compared = compare_models(predictions, _predict(other, data, split))
        title = f"{_name(artefact)} on {split.replace('_', ' ')}"
        if out:
            # Only here: drawing takes seconds to import, and most calls draw nothing.
            from training.engine.report import write_report  # noqa: PLC0415

            write_report(
                out,
                title=title,
                predictions=predictions,
                figures=told,
                comparison=compared,
                compared_with=_name(other) if other else "",
            )
        if options["json"]:
            self.stdout.write(json.dumps(told | ({"comparison": compared} if compared else {})))
            return
        self.stdout.write("\n\n".join(split_section(title, told)))
        if compared and other:
            self.stdout.write(f"\nAgainst {_name(other)}, on the same eyes:\n")
            self.stdout.write(comparison_table(compared))
        self.stdout.write("\n" + comparison_with_card(told, artefact.manifest.metrics.get(split)))
        if out:
            self.stdout.write(f"Wrote {out / 'report.html'}.")


def _load(name: str | Path) -> Artefact:
    """Load a model's folder, a registered model, or the one that workers grade with."""
    directory = Path(name)
    if directory.is_dir():
        return load_artefact(directory)
    try:
        alias = champion_alias() if name == CHAMPION else None
        model = alias.model if alias else model_by_label(str(name))
    except DatabaseError as error:
        raise CommandError(
            f"{name} is no folder, and the registry's database doesn't answer. "
            "Start it, or give --model and --against folders."
        ) from error
    if model is None:
        raise CommandError(
            f"{name} is neither a folder nor a registered model. `manage.py models` lists those."
        )
    return load_artefact(local_directory(model))


def _name(artefact: Artefact) -> str:
    return f"{artefact.manifest.name} {artefact.manifest.version}"


def _predict(artefact: Artefact, data: Path, split: str) -> Predictions:
    cache = settings.VAR_DIR / "training" / "cache"
    return evaluate_artefact(artefact, data=data, cache=cache, split=split)


def comparison_with_card(told: dict, on_card: dict | None) -> str:
    """Say whether the figures equal the card's, if those are about the same eyes."""
    if on_card is None:
        return "The card has no figures for this split."
    if told["eyes_by_grade"] != on_card["eyes_by_grade"]:
        return (
            f"The card's figures are of other eyes: {on_card['eyes']} there, {told['eyes']} here."
        )
    gaps = {
        "referable area": (_value(told["referable"]["auc"]), _value(on_card["referable"]["auc"])),
        "kappa": (_value(told["kappa"]), _value(on_card["kappa"])),
    }
    apart = [name for name, (now, then) in gaps.items() if _differ(now, then)]
    pairs = "; ".join(f"{name} {then} there, {now} here" for name, (now, then) in gaps.items())
    return f"{'THE CARD DISAGREES' if apart else 'The card agrees'}: {pairs}."


def _value(told: dict | None) -> float | None:
    return told["value"] if told else None


def _differ(now: float | None, then: float | None) -> bool:
    if now is None or then is None:
        return now is not then
    return abs(now - then) > TOLERANCE
