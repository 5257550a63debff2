from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from inference.engine import backends, head
from inference.engine.architectures import ARCHITECTURES, build_network
from inference.engine.artefact import MANIFEST, load_artefact, record_parity, test_images
from inference.engine.backends import (
    DoubleChecked,
    build_classifier,
    build_quick,
    choose_engine,
    decision_edges,
    load_classifier,
)
from inference.engine.errors import ArtefactInvalid, EngineError
from inference.engine.grader import load_grader
from inference.engine.openvino_graph import build_model
from inference.engine.parity import EngineFigures, parse_parity
from inference.engine.runtime import core
from inference.engine.testing import make_tiny_artefact

INT8 = "openvino-cpu-int8"
FP32 = "openvino-cpu-fp32"
RANGES = {"body.3": 4.0}  # the tiny network's second convolution
RANDOM = np.random.default_rng(5)


def _figures(**changes) -> dict:
    figures = EngineFigures(
        eyes=400,
        equal_grades=400,
        referable_lost=0,
        images_per_s=20.0,
        margin=0.05,
        test_scores=(0.0, 0.0, 0.0, 0.0),
    )
    return asdict(replace(figures, **changes))


def _measured(directory: Path, **int8) -> Path:
    """Give a tiny artefact the record of an 8-bit engine, with the scores that it really has."""
    artefact = load_artefact(directory)
    quick = build_quick(artefact, INT8, RANGES)
    images = test_images(artefact.test_vector.seed, artefact.manifest.preprocessing)
    scores = tuple(float(score) for score in quick.predict(images)[0][0])
    engines = {FP32: _figures(images_per_s=10.0), INT8: _figures(test_scores=scores, **int8)}
    record_parity(directory, {"engines": engines, "int8_ranges": RANGES})
    return directory


@pytest.fixture
def directory(tmp_path):
    return make_tiny_artefact(tmp_path / "tiny")


@pytest.fixture
def quick_cpu(monkeypatch):
    monkeypatch.setattr(backends, "cpu_features", lambda: frozenset({"avx512_vnni"}))


@pytest.fixture
def images():
    return RANDOM.normal(size=(8, 3, 48, 64)).astype(np.float32)


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - {"resnet152", "resnet101"}))
def test_every_architecture_gives_in_openvino_what_it_gives_in_torch(name):
    torch.manual_seed(3)
    network = build_network(name).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.1, 0.5)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    given = torch.randn(1, 3, 48, 64)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    told = core().compile_model(build_model(network, (64, 48)), "CPU", settings)([given])
    with torch.inference_mode():
        scores, features = network(given)
    np.testing.assert_allclose(told[0], scores, atol=1e-4)
    np.testing.assert_allclose(told[1], features, atol=1e-4, rtol=1e-4)


def test_layer_that_openvino_is_not_taught_is_named():
    network = build_network("tiny_cnn").eval()
    network.body.append(nn.GELU())
    with pytest.raises(EngineError, match="GELU"):
        build_model(network, (64, 48))


def test_eight_bits_stay_near_float32_and_are_not_the_same(directory, images):
    artefact = load_artefact(directory)
    exact, _ = build_quick(artefact, FP32).predict(images)
    short, features = build_quick(artefact, INT8, RANGES).predict(images)
    assert 0 < np.abs(short - exact).max() < 0.05
    assert features.shape == (8, 16, 12, 16)


def test_model_that_nobody_measured_serves_in_float32(directory, quick_cpu):
    artefact = load_artefact(directory)
    assert choose_engine(artefact, "cpu") == FP32
    assert choose_engine(artefact, "cuda") == "torch-cuda-fp32"


def test_fastest_engine_that_passed_serves(directory, quick_cpu):
    assert choose_engine(load_artefact(_measured(directory)), "cpu") == INT8


def test_slower_engine_does_not_serve_by_itself(directory, quick_cpu):
    artefact = load_artefact(_measured(directory, images_per_s=5.0))
    assert choose_engine(artefact, "cpu") == FP32
    assert choose_engine(artefact, "cpu", "int8") == INT8


@pytest.mark.parametrize("changes", [{"equal_grades": 397}, {"referable_lost": 1}, {"eyes": 400}])
def test_engine_that_fails_parity_never_serves(directory, quick_cpu, changes):
    passes = changes == {"eyes": 400}
    artefact = load_artefact(_measured(directory, **changes))
    assert choose_engine(artefact, "cpu") == (INT8 if passes else FP32)
    if not passes:
        with pytest.raises(EngineError, match="parity"):
            choose_engine(artefact, "cpu", "int8")


def test_few_eyes_prove_nothing():
    told = {"engines": {INT8: _figures(eyes=20, equal_grades=20)}}
    assert not parse_parity(told).passed(INT8)


def test_machine_that_does_not_compute_eight_bits_natively_uses_float32(directory, monkeypatch):
    monkeypatch.setattr(backends, "cpu_features", lambda: frozenset({"avx2"}))
    artefact = load_artefact(_measured(directory))
    assert choose_engine(artefact, "cpu") == FP32
    with pytest.raises(EngineError, match="natively"):
        load_classifier(artefact, "cpu", precision="int8")


def test_float32_can_be_asked_for(directory, quick_cpu):
    artefact = load_artefact(_measured(directory))
    assert load_classifier(artefact, "cpu", precision="fp32").name == FP32


def test_features_are_none_where_the_system_does_not_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(backends, "CPU_FACTS", tmp_path / "missing")
    assert backends.cpu_features() == frozenset()
    facts = tmp_path / "cpuinfo"
    facts.write_text("processor: 0\nflags\t\t: fpu avx512_vnni\n")
    monkeypatch.setattr(backends, "CPU_FACTS", facts)
    assert backends.is_native(INT8)
    assert not backends.is_native("openvino-cpu-bf16")


def test_doubtful_answers_are_computed_again_in_float32(directory, images):
    artefact = load_artefact(directory)
    exact, quick = build_quick(artefact, FP32), build_quick(artefact, INT8, RANGES)
    edges = decision_edges(artefact.manifest)
    distance = head.distances(quick.predict(images)[0], edges)
    margin = float(np.median(distance))
    scores, _ = DoubleChecked(quick, exact, edges=edges, margin=margin).predict(images)
    again = distance <= margin
    assert 0 < again.sum() < len(images)
    assert np.array_equal(scores[again], exact.predict(images)[0][again])
    assert np.array_equal(scores[~again], quick.predict(images)[0][~again])


def test_edges_are_where_a_probability_decides(directory):
    manifest = load_artefact(directory).manifest
    point = replace(
        manifest.operating_point, referable_threshold=0.2, vision_threatening_threshold=0.1
    )
    edges = decision_edges(replace(manifest, temperature=2.0, operating_point=point))
    assert np.array_equal(edges[0], np.zeros(4))
    told = head.cumulative_probabilities(edges[1:], 2.0)[0]
    assert told == pytest.approx([1.0, 0.2, 0.1, 1.0])


def test_eight_bit_engine_repeats_itself_and_ignores_the_batch(directory, quick_cpu, images):
    artefact = load_artefact(_measured(directory))
    classifier = build_classifier(artefact, INT8)
    together, _ = classifier.predict(images)
    for _ in range(100):
        assert np.array_equal(classifier.predict(images[:1])[0], together[:1])


def test_self_check_tries_the_quick_engine_and_the_exact_one(directory, quick_cpu):
    grader = load_grader(_measured(directory), device="cpu")
    assert grader.backend == INT8
    grader.self_check()
    off = _figures(test_scores=(9.0, 9.0, 9.0, 9.0))
    engines = {FP32: _figures(images_per_s=10.0), INT8: off}
    record_parity(directory, {"engines": engines, "int8_ranges": RANGES})
    with pytest.raises(ArtefactInvalid, match=INT8):
        load_grader(directory, device="cpu").self_check()


@pytest.mark.parametrize(
    "engine",
    [
        {"test_scores": (0.0, 0.0)},
        {"margin": -1.0},
        {"images_per_s": 0},
        {"equal_grades": 401},
        {"eyes": None},
    ],
)
def test_record_that_can_not_be_is_refused(directory, engine):
    told = {"engines": {INT8: {**_figures(), **engine}}}
    with pytest.raises((TypeError, ValueError)):
        record_parity(directory, told)
    path = directory / MANIFEST
    path.write_text(path.read_text().replace('"parity": {}', '"parity": {"engines": 3}'))
    with pytest.raises(ArtefactInvalid, match="incomplete or wrong"):
        load_artefact(directory)


def test_recording_parity_keeps_the_weights_and_the_test_vector(directory):
    before = load_artefact(directory)
    after = load_artefact(_measured(directory))
    assert after.sha256 == before.sha256
    assert after.test_vector == before.test_vector
    assert sorted(path.name for path in directory.iterdir()) == [
        *("MODEL_CARD.md", "manifest.json", "weights.safetensors")
    ]
