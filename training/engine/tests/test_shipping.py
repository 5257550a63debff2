import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from inference.engine.architectures import build_network
from inference.engine.artefact import CARD, load_artefact
from inference.engine.grader import load_grader
from inference.engine.testing import make_tiny_artefact
from training.engine.calibration import choose_operating_point, fit_offsets, fit_temperature
from training.engine.card import write_card
from training.engine.datasets import read_eyes
from training.engine.errors import CardIncomplete, DataInvalid, SplitForbidden, TrainingError
from training.engine.evaluation import evaluate_artefact, figures, predict_eyes
from training.engine.recipe import resume_or_start, train
from training.engine.shipping import add_offsets, ship_run, tune_on_val
from training.engine.tests.conftest import SMALL

RANDOM = np.random.default_rng(1)
GRADES = RANDOM.integers(0, 5, 400)
LOGITS = np.minimum.accumulate(
    3 * (GRADES[:, None] - np.arange(4)[None, :] - 0.5) + RANDOM.normal(0, 4, (400, 4)), axis=1
)


def train_and_ship(config, folders, directory, **options):
    """Train for one epoch and ship the run."""
    short = replace(config, epochs=1)
    run = train(short, folders, say=lambda line: None)
    options |= {"directory": directory, "name": "tiny", "version": "1", "say": lambda line: None}
    return ship_run(run, short, folders, **options)


def test_shipped_run_loads_checks_and_repeats_its_own_figures(config, folders, tmp_path):
    manifest = train_and_ship(config, folders, tmp_path / "model")
    load_grader(tmp_path / "model", device="torch-cpu").self_check()
    assert {"torch-cpu-fp32", "openvino-cpu-fp32"} <= set(manifest.parity["engines"])
    artefact = load_artefact(tmp_path / "model")
    assert json.loads(json.dumps(manifest.metrics)) == artefact.manifest.metrics
    assert (tmp_path / "model" / CARD).read_text() == write_card(artefact.manifest)
    for split in ("val", "second_site"):
        predictions = evaluate_artefact(
            artefact, data=folders.data, cache=folders.cache, split=split
        )
        again = json.loads(json.dumps(figures(predictions)))
        assert again == artefact.manifest.metrics[split]


def test_model_that_keeps_all_of_its_start_is_its_start_and_the_card_says_so(
    config, folders, tmp_path
):
    start = make_tiny_artefact(tmp_path / "start", seed=7)
    begun = replace(folders, init=start)
    from_file = replace(config, init="file")
    options = {"compare_engines": False, "stored_dtype": "float32"}
    train_and_ship(from_file, begun, tmp_path / "kept", start_share=1.0, **options)
    train_and_ship(from_file, begun, tmp_path / "end", **options)
    began, kept, end = (
        load_artefact(tmp_path / name).network.body[0].weight for name in ("start", "kept", "end")
    )
    assert torch.equal(kept, began)
    assert not torch.equal(end, began)
    assert "Of every weight, 100% is that of the start." in (tmp_path / "kept" / CARD).read_text()
    assert "that of the start" not in (tmp_path / "end" / CARD).read_text()


def test_run_without_an_epoch_is_not_shipped(config, folders, tmp_path):
    run = resume_or_start(config, folders.run)
    with pytest.raises(TrainingError, match="one epoch"):
        ship_run(run, config, folders, directory=tmp_path / "m", name="tiny", version="1")


def test_card_shows_the_manifest_and_is_not_written_with_a_hole(config, folders, tmp_path):
    manifest = train_and_ship(config, folders, tmp_path / "model", compare_engines=False)
    assert not manifest.parity
    card = write_card(manifest)
    assert f"temperature {manifest.temperature:.3f}" in card
    assert f"seed {config.seed}" in card
    assert "| train | aptos2019 colour256 | 18 | 18 |" in card
    for name, where in (
        ("metrics.val.kappa", ("val", "kappa")),
        ("metrics.second_site.macro", ("second_site", "macro")),
    ):
        holed = json.loads(json.dumps(manifest.metrics))
        del holed[where[0]][where[1]]
        with pytest.raises(CardIncomplete, match=name.split(".")[-1]):
            write_card(replace(manifest, metrics=holed))
    training = {key: value for key, value in manifest.training.items() if key != "offsets"}
    with pytest.raises(CardIncomplete, match=r"training\.offsets is missing"):
        write_card(replace(manifest, training=training))


def tune(network, eyes, data, cache):
    """Tune a network of the tiny size on val."""
    return tune_on_val(
        network,
        SMALL,
        eyes,
        data=data,
        cache=cache,
        stored_dtype="float16",
        referable_target=0.95,
        vision_threatening_target=0.85,
        version="t",
    )


def test_tuning_opens_no_picture_of_another_split(folders, tmp_path):
    """Val alone is on the disk: tuning works, and whatever would look elsewhere does not."""
    every = read_eyes(folders.data)
    only_val = tmp_path / "only-val"
    only_val.mkdir()
    shards = {eye.shard for eye in every if eye.split == "val"}
    with_val = [
        replace(eye, shard=eye.shard if eye.split == "val" else "gone.tar") for eye in every
    ]
    for shard in shards:
        shutil.copy(folders.data / shard, only_val / shard)
    network = build_network("tiny_cnn").eval()
    tuning = tune(network, with_val, only_val, tmp_path / "cache")
    assert tuning.point.chosen_on == "12 true-colour eyes of val"
    elsewhere = [eye for eye in with_val if eye.split == "second_site"]
    with pytest.raises(DataInvalid, match="gone.tar"):
        predict_eyes(network, SMALL, elsewhere, data=only_val, cache=tmp_path / "cache")


def test_tuning_does_not_change_with_the_grades_of_other_splits(folders, tmp_path):
    eyes = read_eyes(folders.data)
    turned = [eye if eye.split == "val" else replace(eye, grade=4 - eye.grade) for eye in eyes]
    told = []
    for each in (eyes, turned):
        torch.manual_seed(1)
        told.append(tune(build_network("tiny_cnn").eval(), each, folders.data, folders.cache))
    assert told[0] == told[1]


def test_offsets_move_every_score_and_stay_in_the_weights():
    network = build_network("tiny_cnn").eval()
    images = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    offsets = np.array([-0.5, 0.0, 0.25, 1.0])
    with torch.no_grad():
        before, _ = network(images)
        add_offsets(network, offsets)
        after, _ = network(images)
    assert (after - before).numpy() == pytest.approx(np.tile(offsets, (2, 1)), abs=1e-5)


def test_offsets_that_were_put_in_are_found_again():
    random = np.random.default_rng(2)
    severity = random.normal(0, 3, (4000, 1))
    right = severity - np.array([-1.0, 0.0, 2.0, 3.0])
    grades = (right + random.logistic(size=(4000, 1)) > 0).sum(axis=1)
    shift = np.array([1.0, 0.5, -0.5, -0.5])
    assert fit_offsets(right, grades, split="val") == pytest.approx(0, abs=0.2)
    shifted = np.minimum.accumulate(right + shift, axis=1)
    assert fit_offsets(shifted, grades, split="val") == pytest.approx(-shift, abs=0.25)


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


def test_val_without_the_disease_chooses_no_threshold():
    with pytest.raises(DataInvalid, match="larger share"):
        choose_operating_point(
            LOGITS,
            np.minimum(GRADES, 2),
            temperature=1.0,
            split="val",
            referable_target=0.95,
            vision_threatening_target=0.85,
            version="t",
        )


def test_nothing_is_fitted_on_the_second_site():
    with pytest.raises(SplitForbidden):
        fit_offsets(LOGITS, GRADES, split="second_site")
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
