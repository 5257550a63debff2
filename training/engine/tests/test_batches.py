from dataclasses import replace

import pytest
import torch

from training.engine.batches import EpochSteps, Material, Stopwatch, load_batches, make_batch
from training.engine.datasets import eyes_to_learn_from, load_bands, read_eyes
from training.engine.ranks import Ranks

CPU = torch.device("cpu")


@pytest.fixture
def material(config, folders):
    eyes = eyes_to_learn_from(read_eyes(folders.data))
    bands = load_bands(eyes, data=folders.data, cache=folders.cache, spec=config.preprocessing)
    return Material(eyes=eyes, bands=bands)


def _loaded(steps, **options):
    return list(load_batches(steps, device=CPU, watch=Stopwatch(), **options))


def test_batch_has_the_networks_shape_and_painted_eyes_stay_silent_on_severity(config, material):
    eyes, bands = material.eyes, material.bands
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


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_the_same_whoever_prepares_them(config, material, workers):
    steps = EpochSteps(config, material, epoch=1)
    loaded = _loaded(steps, workers=workers)
    assert [step for step, _ in loaded] == list(range(len(steps)))
    for step, batch in loaded:
        for part, expected in zip(batch, steps[step], strict=True):
            assert torch.equal(part, expected)


def test_threads_of_the_one_who_learns_change_no_batch(config, material):
    steps = EpochSteps(config, material, epoch=0)
    alone = _loaded(steps, workers=0)
    torch.set_num_threads(2)
    try:
        helped = _loaded(steps, workers=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert all(
        torch.equal(a.images, b.images) for (_, a), (_, b) in zip(alone, helped, strict=True)
    )


def test_epoch_goes_on_at_the_step_that_is_asked_for(config, material):
    steps = EpochSteps(config, material, epoch=0)
    whole = _loaded(steps, workers=0)
    rest = _loaded(steps, first=2, workers=1)
    assert [step for step, _ in rest] == [step for step, _ in whole[2:]]
    assert torch.equal(rest[0][1].images, whole[2][1].images)


def test_ranks_share_each_batch_without_an_eye_left_out_or_shown_twice(config, material):
    alone = EpochSteps(config, material, epoch=0)
    shares = [EpochSteps(config, material, 0, Ranks(rank, 2)) for rank in range(2)]
    plain = replace(config, painted_share=0.0, smoothing=0.0)
    for steps in (alone, *shares):
        steps.config = plain
    for step in range(len(alone)):
        told = torch.cat([share[step].targets for share in shares])
        assert len(told) == config.batch_size
        assert sorted(told.tolist()) == sorted(alone[step].targets.tolist())
    assert shares[0].seed(0) != shares[1].seed(0)
    assert shares[0].seed(0) == alone.seed(0)


def test_stopwatch_counts_waiting_and_not_learning(config, material):
    steps = EpochSteps(config, material, epoch=0)
    watch = Stopwatch()
    for _ in load_batches(steps, workers=0, device=CPU, watch=watch):
        watch.began -= 1000.0  # as if learning had taken so long
    assert 0 < watch.stall < 0.1
