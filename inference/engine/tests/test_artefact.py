import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from inference.engine.architectures import ARCHITECTURES, build_network
from inference.engine.artefact import CARD, MANIFEST, WEIGHTS, load_artefact, save_artefact
from inference.engine.errors import ArtefactInvalid, SpecInvalid
from inference.engine.grader import load_grader
from inference.engine.schemas import QualityGate, QualityLimit
from inference.engine.testing import make_tiny_artefact


@pytest.fixture
def copy(artefact_directory, tmp_path):
    return shutil.copytree(artefact_directory, tmp_path / "copy")


def _edit(directory, **changes):
    path = directory / MANIFEST
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, **changes}))


def test_saved_artefact_loads_and_passes_its_self_check(copy):
    grader = load_grader(copy, device="torch-cpu")
    grader.self_check()
    assert grader.version == "for-tests-1"
    assert len(grader.sha256) == 64


def test_one_flipped_byte_anywhere_in_the_weights_is_refused(copy):
    path = copy / WEIGHTS
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 25).astype(int):
        broken = bytearray(whole)
        broken[place] ^= 1
        path.write_bytes(broken)
        with pytest.raises(ArtefactInvalid, match="hash"):
            load_artefact(copy)


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST, CARD])
def test_missing_file_is_refused_by_name(copy, name):
    (copy / name).unlink()
    with pytest.raises(ArtefactInvalid, match=name):
        load_artefact(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "resnet18"},
        {"architecture": "resnet9000"},
        {"format": 99},
        {"classes": ["a", "b"]},
        {"temperature": 0},
        {"operating_point": {}},
        {"preprocessing": {"operations": ["rotate"]}},
        {"test_vector": None},
        {"test_vector": {"seed": 2, "scores": [0.5], "tolerance": 0.002}},
        {"preprocessing": None},
        {"quality": None},
        {"quality": {"version": "quality-2"}},
    ],
)
def test_manifest_that_does_not_fit_is_refused(copy, changes):
    _edit(copy, **changes)
    with pytest.raises(ArtefactInvalid) as caught:
        load_artefact(copy)
    assert caught.value.cure


def test_model_saved_before_gates_were_stored_is_judged_by_the_first_gate(copy):
    told = json.loads((copy / MANIFEST).read_text())
    del told["quality"]
    (copy / MANIFEST).write_text(json.dumps(told))
    assert load_artefact(copy).manifest.quality == QualityGate()


def test_photographs_are_judged_by_the_gate_of_the_model(copy, eye, encode):
    content = encode(eye)
    assert load_grader(copy, device="torch-cpu").prepare(content).verdict.quality == "good"
    limit = QualityLimit(measure="brightness", sign=-1, usable=250.0, reject=249.0, reason="dark")
    _edit(copy, quality=asdict(replace(QualityGate(), limits=(limit,))))
    verdict = load_grader(copy, device="torch-cpu").prepare(content).verdict
    assert (verdict.quality, verdict.reasons) == ("reject", ("dark",))


def test_manifest_that_is_no_json_is_refused(copy):
    (copy / MANIFEST).write_text("{")
    with pytest.raises(ArtefactInvalid, match="JSON"):
        load_artefact(copy)


def test_wrong_test_vector_fails_the_self_check(copy):
    told = json.loads((copy / MANIFEST).read_text())
    vector = told["test_vector"]
    _edit(
        copy, test_vector={**vector, "scores": [*vector["scores"][:3], vector["scores"][3] + 0.1]}
    )
    grader = load_grader(copy, device="torch-cpu")
    with pytest.raises(ArtefactInvalid, match="scores"):
        grader.self_check()


def test_weights_that_change_after_loading_fail_the_self_check(copy):
    grader = load_grader(copy, device="torch-cpu")
    (copy / WEIGHTS).write_bytes(b"something else")
    with pytest.raises(ArtefactInvalid, match="changed"):
        grader.self_check()


def test_saving_leaves_nothing_behind_when_it_fails(artefact_directory, tmp_path):
    artefact = load_artefact(artefact_directory)
    spec = replace(artefact.manifest.preprocessing, operations=("rotate",))
    with pytest.raises(SpecInvalid):
        save_artefact(
            tmp_path / "new",
            network=artefact.network,
            manifest=replace(artefact.manifest, preprocessing=spec),
            card="",
        )
    with pytest.raises(KeyError):
        save_artefact(
            tmp_path / "new",
            network=artefact.network,
            manifest=replace(artefact.manifest, stored_dtype="float8"),
            card="",
        )
    assert list(tmp_path.iterdir()) == []


def test_saving_never_overwrites(copy):
    artefact = load_artefact(copy)
    with pytest.raises(ArtefactInvalid, match="already"):
        save_artefact(copy, network=artefact.network, manifest=artefact.manifest, card="")


def test_half_precision_storage_loads_as_float32_and_passes_its_own_check(
    artefact_directory, tmp_path
):
    artefact = load_artefact(artefact_directory)
    saved = save_artefact(
        tmp_path / "half",
        network=artefact.network,
        manifest=replace(artefact.manifest, stored_dtype="float16"),
        card="x",
    )
    assert (saved / WEIGHTS).stat().st_size < (artefact_directory / WEIGHTS).stat().st_size
    assert load_artefact(saved).network.head.weight.dtype == torch.float32
    load_grader(saved, device="torch-cpu").self_check()


def test_seed_decides_the_tiny_artefact(tmp_path):
    one, same, other = (
        load_artefact(make_tiny_artefact(tmp_path / name, seed=seed)).sha256
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == same != other


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - {"resnet152"}))
def test_every_architecture_gives_scores_and_features(name):
    network = build_network(name).eval()
    with torch.inference_mode():
        scores, features = network(torch.zeros(1, 3, 48, 64))
    assert scores.shape == (1, 4)
    assert features.shape[:2] == (1, network.head.in_features)
