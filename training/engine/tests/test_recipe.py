from dataclasses import replace

import numpy as np
import pytest
import torch

from inference.engine.errors import SpecInvalid
from training.engine.datasets import eyes_to_learn_from, load_bands, read_eyes
from training.engine.errors import TrainingError
from training.engine.recipe import (
    learning_rate,
    make_batch,
    resume_or_start,
    sample_weights,
    train,
)


def _silent(_line: str) -> None:
    pass


def _weights(run):
    return torch.cat([value.float().flatten() for value in run.average.state_dict().values()])


def test_resumed_run_equals_an_uninterrupted_one(config, folders, tmp_path):
    whole = train(config, folders, say=_silent)
    broken = replace(folders, run=tmp_path / "broken")
    first = train(config, broken, say=_silent, stop_at=0.0)
    assert first.epoch == 0
    halted = _stop_after_one_epoch(config, broken)
    assert halted.epoch == 1
    resumed = train(config, broken, say=_silent)
    assert resumed.epoch == whole.epoch == 2
    assert torch.equal(_weights(resumed), _weights(whole))
    assert resumed.history == whole.history


def _stop_after_one_epoch(config, folders):
    lines = []

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("epoch"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, folders, say=say)
    return resume_or_start(config, folders.run)


def test_checkpoint_of_another_configuration_is_refused(config, folders):
    train(replace(config, epochs=1), folders, say=_silent)
    with pytest.raises(TrainingError, match="another configuration"):
        train(replace(config, epochs=1, seed=2), folders, say=_silent)


def test_seed_decides_the_weights(config, folders, tmp_path):
    one = replace(config, epochs=1)
    runs = [
        train(replace(one, seed=seed), replace(folders, run=tmp_path / name), say=_silent)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert torch.equal(_weights(runs[0]), _weights(runs[1]))
    assert not torch.equal(_weights(runs[0]), _weights(runs[2]))


def test_training_lowers_the_loss(config, folders):
    longer = replace(config, epochs=12, painted_share=0.0, dropout=0.0, learning_rate=5e-3)
    losses = [epoch["loss"] for epoch in train(longer, folders, say=_silent).history]
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"balance": "by magic"}, TrainingError),
        ({"painted_share": 2.0}, TrainingError),
    ],
)
def test_impossible_configuration_is_refused(config, folders, changes, error):
    with pytest.raises(error):
        train(replace(config, **changes), folders, say=_silent)


def test_random_step_in_the_preprocessing_is_refused_before_training(config, folders):
    spec = replace(config.preprocessing, operations=("find_disc", "rotate"))
    with pytest.raises(SpecInvalid, match="random"):
        train(replace(config, preprocessing=spec), folders, say=_silent)


def test_natural_balance_leaves_every_eye_alone(data):
    eyes = eyes_to_learn_from(read_eyes(data))
    assert (sample_weights(eyes, "natural", 4.0) == 1).all()


def test_camera_balance_evens_referable_within_each_camera(data):
    eyes = eyes_to_learn_from(read_eyes(data))
    weights = sample_weights(eyes, "camera", max_repeat=100.0)
    for domain in {eye.domain for eye in eyes}:
        sides = [
            sum(
                w
                for w, eye in zip(weights, eyes, strict=True)
                if eye.domain == domain and (eye.grade >= 2) == side
            )
            for side in (True, False)
        ]
        assert sides[0] == pytest.approx(sides[1])


def test_grade_balance_evens_the_grades(data):
    eyes = eyes_to_learn_from(read_eyes(data))
    weights = sample_weights(eyes, "grade", max_repeat=100.0)
    totals = [
        sum(w for w, eye in zip(weights, eyes, strict=True) if eye.grade == grade)
        for grade in range(5)
    ]
    assert totals == pytest.approx([totals[0]] * 5)


def test_batch_has_the_networks_shape_and_painted_eyes_stay_silent_on_severity(config, folders):
    eyes = eyes_to_learn_from(read_eyes(folders.data))
    bands = load_bands(
        eyes, data=folders.data, cache=folders.cache, spec=replace(config.preprocessing)
    )
    healthy = [place for place, eye in enumerate(eyes) if eye.grade == 0]
    random = torch.Generator().manual_seed(1)
    painted = replace(config, painted_share=1.0, smoothing=0.0)
    images, targets, weights = make_batch(painted, eyes, bands, healthy, 0.0, random)
    assert images.shape == (len(healthy), 3, 48, 64)
    assert torch.isfinite(images).all()
    assert (targets[:, 0] == 1).all()
    assert (weights[:, 2:] == 0).all()
    _, targets, weights = make_batch(painted, eyes, bands, healthy, 0.9, random)
    assert (targets == 0).all()
    assert (weights == 1).all()


def test_learning_rate_rises_then_falls(config):
    rates = [learning_rate(config, progress) for progress in np.linspace(0, 1, 101)]
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(config.learning_rate, rel=0.01)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 0.01 * config.learning_rate
