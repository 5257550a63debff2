"""Fit the quality gate as shipping a model does, and print how good it is."""

import json
import math
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.engine.errors import EngineError
from training.engine.errors import TrainingError
from training.engine.metrics import wilson
from training.engine.quality_gate import (
    caught_degradations,
    cross_validated_area,
    fit_gate_on,
    gate_figures,
    measure_eyes,
)


class Command(BaseCommand):
    help = "Fit the quality gate on train and val, print its figures; shipping a model stores it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--data", type=Path, default=settings.TRAINING_DATA, help="folder with labels.csv"
        )
        parser.add_argument("--split", default="val", help="print the figures of this split")
        parser.add_argument("--spoil", type=int, default=24, help="good eyes to spoil; 0: none")
        parser.add_argument("--out", type=Path, help="write the gate there as JSON")

    def handle(self, *args: object, **options) -> None:
        data, split = options["data"], options["split"]
        try:
            judged = measure_eyes(data, sorted({"train", "val", split}))
            gate = fit_gate_on(judged)
            train = [each for each in judged if each.eye.split == "train"]
            told = gate_figures(gate, [each for each in judged if each.eye.split == split])
            area = cross_validated_area(train)
            caught = caught_degradations(gate, data, split=split, eyes=options["spoil"])
        except (TrainingError, EngineError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{gate.version}, fitted on {gate.fitted_on}")
        shown = "too few patients" if math.isnan(area) else f"{area:.3f}"
        self.stdout.write(f"gradable area on train, five folds by patient: {shown}")
        value, low, high = told["auc"]
        self.stdout.write(
            f"gradable area on {split}: {value:.3f} ({low:.3f} to {high:.3f}), "
            f"{told['eyes']} eyes, {told['ungradable']} ungradable"
        )
        for name in told:
            if "_of_" in name:
                self._count(name.replace("_", " "), told[name])
        for name, count in caught.items():
            self._count(f"spoilt {name}, caught with the right reason", count)
        if options["out"]:
            options["out"].parent.mkdir(parents=True, exist_ok=True)
            options["out"].write_text(json.dumps(asdict(gate), indent=2) + "\n")

    def _count(self, name: str, count: tuple[int, int]) -> None:
        low, high = wilson(*count)
        self.stdout.write(f"{name}: {count[0]} of {count[1]} ({low:.3f} to {high:.3f})")
