import numpy as np
import pytest
from torch import nn

from inference.engine import backends
from inference.engine.artefact import CARD, load_artefact
from inference.engine.parity import REFERENCE, parse_parity
from inference.engine.testing import make_tiny_artefact
from training.engine import parity
from training.engine.errors import DataInvalid
from training.engine.parity import compare_with_reference, measure_parity, parity_lines

INT8 = "openvino-cpu-int8"


@pytest.fixture
def artefact(tmp_path, monkeypatch):
    monkeypatch.setattr(backends, "cpu_features", lambda: frozenset({"avx512_vnni"}))
    return load_artefact(make_tiny_artefact(tmp_path / "model"))


@pytest.fixture
def measured(artefact, data, tmp_path):
    return measure_parity(artefact, data=data, cache=tmp_path, say=lambda line: None)


def test_every_native_engine_is_measured_and_the_others_are_named(measured):
    assert {REFERENCE, "openvino-cpu-fp32", INT8} <= set(measured["engines"])
    assert "openvino-cpu-bf16" in measured["not_available_here"]
    exact = measured["engines"]["openvino-cpu-fp32"]
    assert exact["equal_grades"] == exact["eyes"] > 0
    assert exact["max_probability_change"] < 1e-4
    short = measured["engines"][INT8]
    assert short["margin"] > 0
    assert 0 <= short["asked_again"] <= 1
    assert all(each["images_per_s"] > 0 for each in measured["engines"].values())
    assert len(list(parity_lines(measured))) == 6


def test_ranges_are_of_convolutions_that_see_no_negative_value(measured):
    # The first convolution sees the standardised photograph, which is signed.
    assert list(measured["int8_ranges"]) == ["body.3"]


def test_few_eyes_let_no_engine_pass(measured):
    assert not parse_parity(measured).passed(INT8)


def test_measuring_leaves_the_model_as_it_was(artefact, measured):
    assert not any(
        module._forward_pre_hooks
        for module in artefact.network.modules()
        if isinstance(module, nn.Module)
    )
    assert load_artefact(artefact.directory).manifest.parity == {}


def test_lost_eye_is_counted_apart_from_a_found_one(artefact):
    # Thresholds are 0.5, so a logit's sign decides.
    there = np.array([[2, 1, -1, -2], [2, 1, -1, -2], [2, -1, -1, -2], [2, 1, -1, -2.0]])
    here = there.copy()
    here[0, 1], here[2, 1] = -0.1, 0.1
    told = compare_with_reference(artefact, [here], [there])
    assert (told["referable_flips"], told["referable_lost"]) == (2, 1)
    assert (told["equal_grades"], told["eyes"]) == (2, 4)
    assert told["max_probability_change"] > 0.2


def test_written_parity_stands_in_the_manifest_and_on_the_card(artefact, measured, monkeypatch):
    monkeypatch.setattr(parity, "write_card", lambda manifest: f"card of {len(manifest.parity)}")
    parity.write_parity(artefact.directory, measured)
    again = load_artefact(artefact.directory)
    assert again.manifest.parity == measured
    assert again.sha256 == artefact.sha256
    assert (artefact.directory / CARD).read_text() == f"card of {len(measured)}"


def test_folder_without_val_eyes_is_said(artefact, data, tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "graded", lambda eyes, split: [])
    with pytest.raises(DataInvalid, match="train and val"):
        measure_parity(artefact, data=data, cache=tmp_path, say=lambda line: None)
