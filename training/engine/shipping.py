"""From a finished run to an artefact: round, tune on val, evaluate, write the card, save."""

import copy
import datetime
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.engine.architectures import GradingNetwork
from inference.engine.artefact import STORED_DTYPES, Manifest, load_artefact, save_artefact
from inference.engine.schemas import OperatingPoint, Preprocessing, QualityGate
from training.engine.calibration import choose_operating_point, fit_offsets, fit_temperature
from training.engine.card import write_card
from training.engine.datasets import Eye, data_fingerprint, eyes_to_learn_from, graded, read_eyes
from training.engine.errors import TrainingError
from training.engine.evaluation import eyes_of, figures, judge_eyes, predict_eyes
from training.engine.initial import mix_with_start, read_beginning
from training.engine.parity import measure_parity, write_parity
from training.engine.predictions import Predictions
from training.engine.quality_gate import fit_gate
from training.engine.recipe import Folders, Run, TrainingConfig
from training.engine.records import read_record

TUNED_ON = "val"
CHECKED_ON = ("val", "second_site")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What was fitted on val after training: offsets of the scores, temperature, thresholds."""

    offsets: tuple[float, ...]
    temperature: float
    point: OperatingPoint


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
    start_share: float = 0.0,
    compare_engines: bool = True,
    say: Callable[[str], None] = print,
) -> Manifest:
    """Save a run's averaged network as an artefact with its card.

    With `compare_engines` every engine of this machine is held to float32 on val, so that the
    manifest says which of them may serve; without, only float32 ever serves.

    `start_share` of every weight, 0 to 1, is taken from what the run started from
    (`initial.mix_with_start`). `note` tells on the card what was unusual about the run. The targets
    are sensitivities: the first decides who is referred, the second only how soon, so it may miss a
    little more.

    Pre-state: the run has done at least one epoch; `directory` is absent or empty.
    """
    if run.epoch == 0:
        raise TrainingError("The run has not done one epoch.", "Train before shipping.")
    network = copy.deepcopy(run.average)
    if start_share:
        mix_with_start(network, read_beginning(config, folders.init), start_share)
    network = as_stored(network, stored_dtype)
    spec, where = config.preprocessing, {"data": folders.data, "cache": folders.cache}
    eyes = read_eyes(folders.data)
    tuning = tune_on_val(
        network,
        spec,
        eyes,
        **where,
        stored_dtype=stored_dtype,
        referable_target=referable_target,
        vision_threatening_target=vision_threatening_target,
        version=f"{name}-{version}-val",
    )
    gate = fit_gate(folders.data)
    learned_from = eyes_to_learn_from(eyes)
    manifest = Manifest(
        name=name,
        version=version,
        architecture=config.architecture,
        preprocessing=spec,
        operating_point=tuning.point,
        temperature=tuning.temperature,
        quality=gate,
        data_fingerprint=data_fingerprint(learned_from),
        training={
            "config": json.loads(json.dumps(asdict(config))),
            "eyes": len(learned_from),
            "epochs_done": run.epoch,
            "history": run.history,
            "run": read_record(folders.run),
            "offsets": list(tuning.offsets),
            "data": data_counts(eyes),
            "note": note,
            "start_share": start_share,
        },
        metrics={
            split: _figures_of_split(
                network, spec, tuning, eyes_of(eyes, split), gate=gate, **where
            )
            for split in CHECKED_ON
        },
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        stored_dtype=stored_dtype,
    )
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
    save_artefact(directory, network=network, manifest=manifest, card=write_card(manifest))
    if compare_engines:
        parity = measure_parity(load_artefact(directory), **where, say=say)
        write_parity(directory, parity)
        manifest = load_artefact(directory).manifest
    return manifest


def tune_on_val(
    network: GradingNetwork,
    spec: Preprocessing,
    eyes: Sequence[Eye],
    *,
    data: Path,
    cache: Path,
    stored_dtype: str,
    referable_target: float,
    vision_threatening_target: float,
    version: str,
) -> Tuning:
    """Fit offsets, temperature and operating point on the true-colour eyes of val.

    Post-state: the offsets are in the biases of the network's head, so serving knows nothing of
    them. No picture of another split is opened.
    """
    tuned_on = [eye for eye in graded(eyes, TUNED_ON) if eye.true_colour]
    grades = np.array([eye.grade for eye in tuned_on], int)
    where = {"data": data, "cache": cache}
    logits = predict_eyes(network, spec, tuned_on, **where)
    offsets = fit_offsets(logits, grades, split=TUNED_ON)
    add_offsets(network, offsets)
    as_stored(network, stored_dtype)
    logits = predict_eyes(network, spec, tuned_on, **where)
    temperature = fit_temperature(logits, grades, split=TUNED_ON)
    point = choose_operating_point(
        logits,
        grades,
        temperature=temperature,
        split=TUNED_ON,
        referable_target=referable_target,
        vision_threatening_target=vision_threatening_target,
        version=version,
    )
    return Tuning(offsets=tuple(offsets.tolist()), temperature=temperature, point=point)


def add_offsets(network: GradingNetwork, offsets: np.ndarray) -> None:
    """Add offsets [4] to the head's biases, and so to every score that it will ever give."""
    with torch.no_grad():
        bias = network.head.bias
        bias.add_(torch.as_tensor(offsets, dtype=bias.dtype, device=bias.device))


def as_stored(network: GradingNetwork, stored_dtype: str) -> GradingNetwork:
    """Round the weights as storing does, so that the figures are of the weights that serve."""
    dtype = STORED_DTYPES[stored_dtype]
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.to(dtype).float())
    return network.eval()


def data_counts(eyes: Sequence[Eye]) -> dict[str, Any]:
    """Count the eyes of each split that has grades, by source and grade, for the card."""
    counts: dict[str, Any] = {}
    for split in sorted({eye.split for eye in eyes if eye.grade is not None}):
        of_split = [eye for eye in eyes if eye.split == split]
        sources = sorted({f"{eye.source} {eye.variant}" for eye in of_split})
        counts[split] = {
            source: _counts([eye for eye in of_split if f"{eye.source} {eye.variant}" == source])
            for source in sources
        }
    return counts


def _counts(eyes: Sequence[Eye]) -> dict[str, Any]:
    usable = [eye for eye in eyes if eye.gradable is not False]
    return {
        "photographs": len(eyes),
        "patients": len({eye.patient or eye.image for eye in eyes}),
        "by_grade": [sum(eye.grade == grade for eye in usable) for grade in range(5)],
        "ungraded": sum(eye.grade is None for eye in usable),
        "ungradable": len(eyes) - len(usable),
    }


def _figures_of_split(
    network: GradingNetwork,
    spec: Preprocessing,
    tuning: Tuning,
    eyes: Sequence[Eye],
    *,
    gate: QualityGate,
    data: Path,
    cache: Path,
) -> dict[str, Any]:
    return figures(
        Predictions(
            eyes=eyes,
            logits=predict_eyes(network, spec, eyes, data=data, cache=cache),
            temperature=tuning.temperature,
            point=tuning.point,
            verdicts=judge_eyes(eyes, data=data, gate=gate),
        )
    )
