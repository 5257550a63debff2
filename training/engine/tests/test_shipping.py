import json
from dataclasses import replace

import numpy as np
import pytest

from inference.engine.artefact import CARD, load_artefact
from inference.engine.grader import load_grader
from training.engine.calibration import choose_operating_point, fit_temperature
from training.engine.card import write_card
from training.engine.errors import SplitForbidden, TrainingError
from training.engine.evaluation import evaluate_artefact
from training.engine.recipe import resume_or_start, train
from training.engine.shipping import ship_run

RANDOM = np.random.default_rng(1)
GRADES = RANDOM.integers(0, 5, 400)
LOGITS = np.minimum.accumulate(
    3 * (GRADES[:, None] - np.arange(4)[None, :] - 0.5) + RANDOM.normal(0, 4, (400, 4)), axis=1
)


def train_and_ship(config, folders, directory):
    """Train for one epoch and ship the run."""
    short = replace(config, epochs=1)
    run = train(short, folders, say=lambda line: None)
    return ship_run(run, short, folders, directory=directory, name="tiny", version="1")


def test_shipped_run_loads_checks_and_repeats_its_own_figures(config, folders, tmp_path):
    manifest = train_and_ship(config, folders, tmp_path / "model")
    load_grader(tmp_path / "model", device="torch-cpu").self_check()
    artefact = load_artefact(tmp_path / "model")
    assert json.loads(json.dumps(manifest.metrics)) == artefact.manifest.metrics
    assert (tmp_path / "model" / CARD).read_text() == write_card(artefact.manifest)
    for split in ("val", "second_site"):
        again = evaluate_artefact(artefact, data=folders.data, cache=folders.cache, split=split)
        assert json.loads(json.dumps(again)) == artefact.manifest.metrics[split]


def test_run_without_an_epoch_is_not_shipped(config, folders, tmp_path):
    run = resume_or_start(config, folders.run)
    with pytest.raises(TrainingError, match="one epoch"):
        ship_run(run, config, folders, directory=tmp_path / "m", name="tiny", version="1")


def test_card_with_a_missing_figure_is_not_written(config, folders, tmp_path):
    manifest = train_and_ship(config, folders, tmp_path / "model")
    metrics = {**manifest.metrics, "val": {**manifest.metrics["val"]}}
    del metrics["val"]["kappa"]
    with pytest.raises(KeyError):
        write_card(replace(manifest, metrics=metrics))


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_temperature_is_found_again(truth):
    chance = 1 / (1 + np.exp(-LOGITS[:, :1]))
    grades = (RANDOM.random((400, 1)) < chance).astype(int)[:, 0]
    logits = np.repeat(LOGITS[:, :1], 4, axis=1)
    logits[:, 1:] = -30.0  # grades here are 0 or 1: the higher thresholds are never passed
    found = fit_temperature(logits * truth, grades, split="val")
    assert found == pytest.approx(truth, rel=0.35)


@pytest.mark.parametrize("target", [0.8, 0.95, 1.0])
def test_operating_point_reaches_the_sensitivity_and_not_more_than_needed(target):
    point = choose_operating_point(
        LOGITS,
        GRADES,
        temperature=1.0,
        split="val",
        referable_target=target,
        vision_threatening_target=0.5,
        version="t",
    )
    referable = 1 / (1 + np.exp(-LOGITS[:, 1]))
    positive = GRADES >= 2
    reached = (referable[positive] >= point.referable_threshold).mean()
    assert reached >= target
    higher = (referable[positive] >= point.referable_threshold + 0.02).mean()
    assert higher < target or target == 1.0
    assert point.vision_threatening_sensitivity_target == 0.5
    assert point.chosen_on == "400 true-colour eyes of val"


def test_nothing_is_fitted_on_the_second_site():
    with pytest.raises(SplitForbidden):
        fit_temperature(LOGITS, GRADES, split="second_site")
    with pytest.raises(SplitForbidden):
        choose_operating_point(
            LOGITS,
            GRADES,
            temperature=1.0,
            split="second_site",
            referable_target=0.95,
            vision_threatening_target=0.85,
            version="t",
        )
