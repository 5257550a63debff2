from copy import deepcopy

import pytest
import torch
from torch import nn

from inference.engine.architectures import build_network
from training.engine.errors import TrainingError
from training.engine.growing import STEM, grow_file, grow_network
from training.engine.tests.conftest import silent


@pytest.fixture(scope="module")
def small():
    """A resnet18 with levels and weights as training leaves them: none at its start value."""
    torch.manual_seed(3)
    network = build_network("resnet18")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 1.0)
            nn.init.uniform_(module.bias, -0.4, 0.4)
    network.train()
    with torch.no_grad():
        for _ in range(40):
            network(torch.randn(8, 3, 48, 64))
    return network.eval()


@pytest.fixture(scope="module")
def batches():
    torch.manual_seed(4)
    return [torch.randn(8, 3, 48, 64) for _ in range(4)]


@pytest.fixture(scope="module")
def grown(small, batches):
    said = []
    return grow_network(small, batches, fit_steps=60, say=said.append), said


@torch.no_grad()
def test_stages_with_room_do_exactly_what_the_small_ones_do(small, batches, grown):
    large, _ = grown
    for place in (5, 6):
        width = small.body[place - 1][0].conv1.out_channels
        fed = small.body[:place](batches[1])
        stream = torch.zeros(len(fed), 4 * width, *fed.shape[2:])
        stream[:, :width] = fed
        wanted = small.body[place](fed)
        given = large.body[place](stream)[:, : wanted.shape[1]]
        assert (given - wanted).abs().max() < 1e-3 * wanted.abs().max()


@torch.no_grad()
def test_a_grown_network_starts_near_the_scores_of_the_small_one(small, batches, grown):
    large, said = grown
    wanted, _ = small(batches[0])
    given, features = large(batches[0])
    fresh, _ = build_network("resnet101").eval()(batches[0])
    assert features.shape[1] == 2048
    assert (given - wanted).abs().mean() < 0.5 * (fresh - wanted).abs().mean()
    assert [line.split(":")[0] for line in said] == ["stage 1", "stage 4"]


@torch.no_grad()
def test_training_mode_starts_where_serving_stands(batches, grown):
    # A copy: training mode moves the levels, and the other tests come in any order.
    stages = deepcopy(grown[0].body[: STEM + 3])
    serving = stages(batches[0])
    training = stages.train()(batches[0])
    assert (serving - training).abs().mean() < 0.02 * serving.abs().mean()


def test_every_bottleneck_can_learn(batches, grown):
    large, _ = grown
    large.zero_grad()
    large(batches[0])[0].square().mean().backward()
    still = large.body[6][10]
    assert still.bn3.weight.grad.abs().max() > 0
    large.zero_grad()


def test_growing_again_gives_the_same_weights(small, batches):
    one, same = (
        grow_network(small, [batches[0][:2]], fit_steps=1, say=silent).state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)


def test_file_that_training_would_not_read_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="safetensors"):
        grow_file(tmp_path, tmp_path / "grown.pth", data=tmp_path, cache=tmp_path)


def test_only_a_resnet18_grows(batches):
    with pytest.raises(TrainingError, match="resnet18"):
        grow_network(build_network("tiny_cnn"), batches)
    with pytest.raises(TrainingError, match="resnet18"):
        grow_network(build_network("resnet50"), batches)
