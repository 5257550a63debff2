from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from inference.engine.errors import SpecInvalid
from training.engine import recipe
from training.engine.checkpoints import CHECKPOINT, load_best, resume_or_start, start_run
from training.engine.config import Machine
from training.engine.datasets import read_eyes
from training.engine.errors import DataInvalid, TrainingError
from training.engine.initial import train_but_frozen
from training.engine.recipe import learning_rate, train
from training.engine.records import read_record
from training.engine.tests.conftest import silent, weights_of


def test_resumed_run_equals_an_uninterrupted_one(config, folders, tmp_path):
    whole = train(config, folders, say=silent)
    broken = replace(folders, run=tmp_path / "broken")
    first = train(config, broken, say=silent, stop_at=0.0)
    assert first.epoch == 0
    halted = _stop_after_one_epoch(config, broken)
    assert halted.epoch == 1
    resumed = train(config, broken, say=silent)
    assert resumed.epoch == whole.epoch == 2
    assert torch.equal(weights_of(resumed), weights_of(whole))
    assert resumed.history == whole.history


def _stop_after_one_epoch(config, folders):
    def stop(_run) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, folders, say=silent, after_epoch=stop)
    return resume_or_start(config, folders.run)


def test_run_stopped_within_an_epoch_goes_on_with_the_next_step(
    config, folders, tmp_path, monkeypatch
):
    whole = train(config, folders, say=silent)
    broken = replace(folders, run=tmp_path / "broken")
    learn = recipe.learn
    learned = []

    def learn_seven_times(*arguments):
        if len(learned) == 7:
            raise KeyboardInterrupt
        learned.append(1)
        return learn(*arguments)

    monkeypatch.setattr(recipe, "learn", learn_seven_times)
    with pytest.raises(KeyboardInterrupt):
        train(config, broken, machine=Machine(checkpoint_minutes=0.0), say=silent)
    halted = resume_or_start(config, broken.run)
    assert (halted.epoch, halted.step) == (1, 3)
    monkeypatch.setattr(recipe, "learn", learn)
    resumed = train(config, broken, say=silent)
    assert torch.equal(weights_of(resumed), weights_of(whole))
    assert resumed.history == whole.history


def test_checkpoint_of_another_configuration_is_refused(config, folders):
    train(replace(config, epochs=1), folders, say=silent)
    with pytest.raises(TrainingError, match="another configuration"):
        train(replace(config, epochs=1, seed=2), folders, say=silent)


def test_checkpoint_made_from_other_eyes_is_refused(config, folders, monkeypatch):
    train(config, folders, say=silent, stop_at=0.0)
    _stop_after_one_epoch(config, folders)
    fewer = [eye for eye in read_eyes(folders.data) if not eye.image.endswith("/5.jpg")]
    monkeypatch.setattr(recipe, "read_eyes", lambda data: fewer)
    with pytest.raises(TrainingError, match="other files: data, splits"):
        train(config, folders, say=silent)


def test_seed_decides_the_weights(config, folders, tmp_path):
    one = replace(config, epochs=1)
    runs = [
        train(replace(one, seed=seed), replace(folders, run=tmp_path / name), say=silent)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert torch.equal(weights_of(runs[0]), weights_of(runs[1]))
    assert not torch.equal(weights_of(runs[0]), weights_of(runs[2]))


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_that_prepare_batches_change_no_weight(config, folders, tmp_path, workers):
    one = replace(config, epochs=1)
    alone = train(one, folders, machine=Machine(workers=0), say=silent)
    other = replace(folders, run=tmp_path / "other")
    helped = train(one, other, machine=Machine(workers=workers), say=silent)
    assert torch.equal(weights_of(alone), weights_of(helped))


def test_training_lowers_the_loss(config, folders):
    longer = replace(config, epochs=12, painted_share=0.0, dropout=0.0, learning_rate=5e-3)
    losses = [epoch["loss"] for epoch in train(longer, folders, say=silent).history]
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "ordinal+mse"},
        {"balance": "oversample"},
        {"balance": "undersample"},
        {"balance": "weighted"},
        {"freeze": ("stem",)},
    ],
)
def test_option_changes_what_is_learned_and_stands_in_the_record(
    config, folders, tmp_path, options
):
    one = replace(config, epochs=1)
    plain = train(one, folders, say=silent)
    other = replace(folders, run=tmp_path / "other")
    changed = train(replace(one, **options), other, say=silent)
    assert not torch.equal(weights_of(plain), weights_of(changed))
    told = read_record(other.run)["config"]
    for name, value in options.items():
        assert told[name] == (list(value) if isinstance(value, tuple) else value)


def test_frozen_layers_stay_as_they_were(config, folders):
    frozen = replace(config, epochs=1, freeze=("stem",))
    before = resume_or_start(frozen, folders.run).network.state_dict()
    after = train(frozen, folders, say=silent).network.state_dict()
    stem = {name for name in before if name.startswith(("body.0.", "body.1."))}
    assert len(stem) == 6
    for name in before:
        if name in stem:
            assert torch.equal(before[name], after[name])
    assert not torch.equal(before["body.3.weight"], after["body.3.weight"])


def test_frozen_layers_stay_when_sharing_replaces_their_normalisation(config):
    frozen = replace(config, freeze=("stem",))
    shared = nn.SyncBatchNorm.convert_sync_batchnorm(start_run(frozen).network)
    train_but_frozen(shared, frozen.freeze)
    norms = [part for part in shared.body if isinstance(part, nn.SyncBatchNorm)]
    assert [norm.training for norm in norms] == [False, True]


def test_run_whose_loss_is_no_number_stops_and_saves_nothing_of_it(config, folders, monkeypatch):
    monkeypatch.setattr(recipe, "learn", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match="--learning-rate"):
        train(config, folders, machine=Machine(checkpoint_minutes=0.0), say=silent)
    assert not (folders.run / CHECKPOINT).exists()


def test_patience_ends_a_run_that_gets_no_better_and_keeps_the_best(
    config, folders, tmp_path, monkeypatch
):
    figures = iter([0.5, 0.7, 0.6, 0.65, 0.9])
    monkeypatch.setattr(recipe, "check_epoch", lambda *_: {"figure": next(figures)})
    averages = []
    patient = replace(config, epochs=5, patience=2)
    run = train(
        patient, folders, say=silent, after_epoch=lambda run: averages.append(weights_of(run))
    )
    assert (run.epoch, run.best_epoch) == (4, 2)
    assert torch.equal(weights_of(run), averages[1])
    again = train(patient, folders, say=silent)
    assert again.epoch == 4
    assert torch.equal(weights_of(again), averages[1])


def test_without_patience_the_last_epoch_is_kept_and_the_best_lies_beside_it(
    config, folders, monkeypatch
):
    figures = iter([0.7, 0.6])
    monkeypatch.setattr(recipe, "check_epoch", lambda *_: {"figure": next(figures)})
    averages = []
    run = train(
        config, folders, say=silent, after_epoch=lambda run: averages.append(weights_of(run))
    )
    assert torch.equal(weights_of(run), averages[1])
    load_best(run, folders.run)
    assert torch.equal(weights_of(run), averages[0])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"balance": "by magic"}, TrainingError),
        ({"loss": "by magic"}, TrainingError),
        ({"painted_share": 2.0}, TrainingError),
        ({"epochs": 0}, TrainingError),
        ({"smoothing": 0.6}, TrainingError),
        ({"ema_decay": 1.5}, TrainingError),
        ({"learning_rate": -1e-3}, TrainingError),
        ({"learning_rate": float("nan")}, TrainingError),
        ({"seed": -1}, TrainingError),
        ({"init": "file"}, TrainingError),
        ({"teacher_share": 0.5}, TrainingError),
        ({"freeze": ("layer9",)}, TrainingError),
    ],
)
def test_impossible_configuration_is_refused(config, folders, changes, error):
    with pytest.raises(error):
        train(replace(config, **changes), folders, say=silent)


def test_random_step_in_the_preprocessing_is_refused_before_training(config, folders):
    spec = replace(config.preprocessing, operations=("find_disc", "rotate"))
    with pytest.raises(SpecInvalid, match="random"):
        train(replace(config, preprocessing=spec), folders, say=silent)


def test_data_without_eyes_to_check_on_are_refused(config, folders, monkeypatch):
    learning = [eye for eye in read_eyes(folders.data) if eye.split != "val"]
    monkeypatch.setattr(recipe, "read_eyes", lambda data: learning)
    with pytest.raises(DataInvalid, match="val"):
        train(config, folders, say=silent)


def test_twenty_pictures_are_enough_for_an_epoch(config, folders, monkeypatch):
    eyes = read_eyes(folders.data)
    learning = [eye for eye in eyes if eye.split == "train"][:20]
    checking = [eye for eye in eyes if eye.split == "val"]
    monkeypatch.setattr(recipe, "read_eyes", lambda data: learning + checking)
    few = replace(config, epochs=1, batch_size=32)
    run = train(few, folders, say=silent)
    assert run.epoch == 1
    assert np.isfinite(run.history[0]["loss"])


def test_learning_rate_rises_then_falls(config):
    rates = [learning_rate(config, progress) for progress in np.linspace(0, 1, 101)]
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(config.learning_rate, rel=0.01)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 0.01 * config.learning_rate
