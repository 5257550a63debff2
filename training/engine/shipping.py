"""From a finished run to an artefact: round, calibrate on val, evaluate, write the card, save."""

import datetime
import json
from dataclasses import asdict
from pathlib import Path

import torch

from inference.engine.architectures import GradingNetwork
from inference.engine.artefact import STORED_DTYPES, Manifest, save_artefact
from training.engine.calibration import choose_operating_point, fit_temperature
from training.engine.card import write_card
from training.engine.datasets import data_fingerprint, eyes_to_learn_from, read_eyes
from training.engine.errors import TrainingError
from training.engine.evaluation import figures, predict_split, quality_figures
from training.engine.recipe import Folders, Run, TrainingConfig

TUNED_ON = "val"
CHECKED_ON = ("val", "second_site")


def ship_run(
    run: Run,
    config: TrainingConfig,
    folders: Folders,
    *,
    directory: Path,
    name: str,
    version: str,
    referable_target: float = 0.95,
    vision_threatening_target: float = 0.85,
    stored_dtype: str = "float16",
    note: str = "",
) -> Manifest:
    """Save a run's averaged network as an artefact with its card.

    `note` tells on the card what was unusual about the run. The targets are sensitivities: the
    first decides who is referred, the second only how soon, so it may miss a little more.

    Pre-state: the run has done at least one epoch; `directory` is absent or empty.
    """
    if run.epoch == 0:
        raise TrainingError("The run has not done one epoch.", "Train before shipping.")
    network = as_stored(run.average, stored_dtype)
    spec, where = config.preprocessing, {"data": folders.data, "cache": folders.cache}
    tuned = predict_split(network, spec, **where, split=TUNED_ON).true_colour
    temperature = fit_temperature(tuned.logits, tuned.grades, split=TUNED_ON)
    point = choose_operating_point(
        tuned.logits,
        tuned.grades,
        temperature=temperature,
        split=TUNED_ON,
        referable_target=referable_target,
        vision_threatening_target=vision_threatening_target,
        version=f"{name}-{version}-val",
    )
    metrics = {}
    for split in CHECKED_ON:
        predictions = predict_split(network, spec, **where, split=split)
        metrics[split] = figures(predictions, temperature=temperature, point=point)
        metrics[split]["quality"] = quality_figures(folders.data, split)
    learned_from = eyes_to_learn_from(read_eyes(folders.data))
    manifest = Manifest(
        name=name,
        version=version,
        architecture=config.architecture,
        preprocessing=spec,
        operating_point=point,
        temperature=temperature,
        data_fingerprint=data_fingerprint(learned_from),
        training={
            "config": json.loads(json.dumps(asdict(config))),
            "eyes": len(learned_from),
            "epochs_done": run.epoch,
            "history": run.history,
            "note": note,
        },
        metrics=metrics,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        stored_dtype=stored_dtype,
    )
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
    save_artefact(directory, network=network, manifest=manifest, card=write_card(manifest))
    return manifest


def as_stored(network: GradingNetwork, stored_dtype: str) -> GradingNetwork:
    """Round the weights as storing does, so that the figures are of the weights that serve."""
    dtype = STORED_DTYPES[stored_dtype]
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.to(dtype).float())
    return network.eval()
