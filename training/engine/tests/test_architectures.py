"""Architectures learn an epoch of twenty pictures and become models under their own names.

The deeper ResNets are the resnet50 with more of the same blocks; by hand, the README says how.
"""

from dataclasses import replace

import numpy as np
import pytest

from inference.engine.artefact import load_artefact, save_artefact
from inference.engine.schemas import Preprocessing
from inference.engine.testing import make_tiny_artefact
from training.engine import recipe
from training.engine.config import Machine, TrainingConfig
from training.engine.datasets import read_eyes
from training.engine.recipe import train
from training.engine.tests.conftest import silent

SIZE = Preprocessing(version="band-1-tiny", size_px=(32, 32))


@pytest.mark.parametrize("name", ["resnet50", "vgg16"])
def test_architecture_learns_and_keeps_its_true_name(name, folders, tmp_path, monkeypatch):
    eyes = read_eyes(folders.data)
    few = [eye for eye in eyes if eye.split == "train"][:20]
    few += [eye for eye in eyes if eye.split == "val"][:4]
    monkeypatch.setattr(recipe, "read_eyes", lambda data: few)
    # A gigabyte of checkpoints each: saving is tested with the smallest network.
    monkeypatch.setattr(recipe, "save_checkpoint", lambda *_, **__: None)
    monkeypatch.setattr(recipe, "save_best", lambda *_: None)
    config = TrainingConfig(architecture=name, preprocessing=SIZE, epochs=1, batch_size=10)
    run = train(config, folders, machine=Machine(workers=0), say=silent)
    assert np.isfinite(run.history[0]["loss"])
    manifest = load_artefact(make_tiny_artefact(tmp_path / "other")).manifest
    manifest = replace(manifest, architecture=name, preprocessing=SIZE, stored_dtype="float16")
    model = save_artefact(tmp_path / "model", network=run.average, manifest=manifest, card="# c\n")
    assert load_artefact(model).manifest.architecture == name
