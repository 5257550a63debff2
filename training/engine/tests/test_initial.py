import copy
import socket
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from inference.engine.architectures import build_network
from inference.engine.testing import make_tiny_artefact
from training.engine.checkpoints import AVERAGE_HEAD_START, start_run
from training.engine.config import TrainingConfig
from training.engine.errors import TrainingError
from training.engine.initial import (
    Beginning,
    begin_with,
    layers_of,
    mix_with_start,
    read_beginning,
)
from training.engine.recipe import train
from training.engine.records import read_record
from training.engine.tests.conftest import silent

TINY = TrainingConfig(architecture="tiny_cnn", init="file")
RESNET = TrainingConfig(architecture="resnet18", init="file")


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    connect = socket.socket.connect

    def refuse(self, address):
        # Processes that prepare batches hand them over through local sockets.
        assert self.family == socket.AF_UNIX, "training tried to reach the network"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def test_models_folder_gives_the_whole_network_and_is_written_down(config, folders, tmp_path):
    model = make_tiny_artefact(tmp_path / "model", seed=7)
    torch.manual_seed(7)
    other = build_network("tiny_cnn")
    from_file = replace(config, init="file", epochs=1)
    start = replace(folders, init=model)
    beginning = read_beginning(from_file, model)
    run = start_run(from_file, beginning=beginning)
    assert torch.equal(run.network.body[0].weight, other.body[0].weight)
    assert torch.equal(run.average.body[0].weight, other.body[0].weight)
    assert run.head_start == AVERAGE_HEAD_START
    said = []
    train(from_file, start, say=said.append)
    assert any("took 14 tensors" in line for line in said)
    told = read_record(folders.run)["init"]
    assert told["sha256"] == beginning.sha256
    assert (told["tensors_taken"], told["tensors_fresh"]) == (14, [])


def test_share_of_the_start_lies_between_start_and_end():
    torch.manual_seed(1)
    start, end = build_network("tiny_cnn"), build_network("tiny_cnn")
    begun = Beginning(init="file", state=start.state_dict())
    for share in (0.0, 0.75, 1.0):
        mixed = copy.deepcopy(end)
        mix_with_start(mixed, begun, share)
        for name, value in mixed.state_dict().items():
            wanted = share * start.state_dict()[name] + (1 - share) * end.state_dict()[name]
            assert torch.allclose(value.float(), wanted.float(), atol=1e-6), name


def test_without_a_whole_start_there_is_no_share_of_it():
    network = build_network("tiny_cnn")
    body = {name: v for name, v in network.state_dict().items() if name.startswith("body.")}
    for beginning in (Beginning(), Beginning(init="file", state=body)):
        with pytest.raises(TrainingError, match="whole network.*--start-share"):
            mix_with_start(network, beginning, 0.5)


def test_run_that_began_elsewhere_is_not_gone_on_with(config, folders, tmp_path):
    from_file = replace(config, init="file", epochs=1)
    for seed in (1, 2):
        make_tiny_artefact(tmp_path / str(seed), seed=seed)
    train(from_file, replace(folders, init=tmp_path / "1"), say=silent)
    with pytest.raises(TrainingError, match="other files: init"):
        train(from_file, replace(folders, init=tmp_path / "2"), say=silent)


def test_best_epoch_of_another_run_can_be_begun_with(config, folders):
    train(replace(config, epochs=1), folders, say=silent)
    beginning = read_beginning(replace(config, init="file"), folders.run)
    assert start_run(config, beginning=beginning).taken.fresh == ()


def test_body_alone_leaves_the_head_fresh(tmp_path):
    path = tmp_path / "body.safetensors"
    save_file(build_network("tiny_cnn").body.state_dict(), path)
    run = start_run(TINY, beginning=read_beginning(TINY, path))
    assert run.taken.fresh == ("head.weight", "head.bias")
    assert run.head_start == 0


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_torchvisions_file_gives_the_body_under_our_names(tmp_path, suffix):
    theirs = models.resnet18(weights=None)
    path = tmp_path / f"resnet18.{suffix}"
    save = save_file if suffix == "safetensors" else torch.save
    save(theirs.state_dict(), path)
    network = build_network("resnet18")
    taken = begin_with(network, read_beginning(RESNET, path))
    assert taken.fresh == ("head.weight", "head.bias")
    assert torch.equal(network.body[0].weight, theirs.conv1.weight)
    assert torch.equal(network.body[7][1].conv2.weight, theirs.layer4[1].conv2.weight)


def test_torchvisions_vgg_gives_its_features():
    with torch.device("meta"):
        network, theirs = build_network("vgg16"), models.vgg16(weights=None)
    beginning = Beginning(init="imagenet", state=theirs.state_dict())
    taken = begin_with(network, beginning)
    assert taken.taken == len(theirs.features.state_dict())
    assert taken.fresh == ("head.weight", "head.bias")


def test_weights_of_another_architecture_are_refused(tmp_path):
    make_tiny_artefact(tmp_path / "model")
    with pytest.raises(TrainingError, match="of tiny_cnn, and the run is of resnet18"):
        read_beginning(RESNET, tmp_path / "model")
    beginning = read_beginning(RESNET, tmp_path / "model" / "weights.safetensors")
    with pytest.raises(TrainingError, match="another architecture.*--arch"):
        begin_with(build_network("resnet18"), beginning)


def test_missing_imagenet_weights_name_both_ways_out_and_nothing_is_fetched():
    with pytest.raises(TrainingError, match="resnet18-.*pth.*--init FILE.*--init scratch"):
        read_beginning(replace(RESNET, init="imagenet"), None)
    with pytest.raises(TrainingError, match="no weights for tiny_cnn"):
        read_beginning(replace(TINY, init="imagenet"), None)


def test_damaged_imagenet_weights_are_refused(tmp_path):
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="hash differs"):
        read_beginning(replace(RESNET, init="imagenet"), None)


@pytest.mark.parametrize("content", [b"", b"not weights"])
@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_file_without_weights_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TrainingError, match="--init"):
        read_beginning(TINY, tmp_path / name)
    with pytest.raises(TrainingError, match="There is no file"):
        read_beginning(TINY, tmp_path / "absent")


def test_pickled_file_of_something_else_is_refused(tmp_path):
    for number, other in enumerate(([torch.zeros(1)], {"epoch": 3})):
        torch.save(other, tmp_path / f"{number}.pt")
        with pytest.raises(TrainingError, match="more than weights.*--init"):
            read_beginning(TINY, tmp_path / f"{number}.pt")


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [("resnet18", 5), ("resnet101", 5), ("vgg16", 5), ("tiny_cnn", 2)],
)
def test_layers_hold_the_whole_body_in_order(architecture, layers):
    with torch.device("meta"):
        network = build_network(architecture)
    named = layers_of(network)
    assert list(named) == ["stem", "layer1", "layer2", "layer3", "layer4"][:layers]
    assert [module for part in named.values() for module in part] == list(network.body)
