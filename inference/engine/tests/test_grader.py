import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from inference.engine.artefact import load_artefact
from inference.engine.backends import load_classifier
from inference.engine.errors import EngineError, UnreadableImage
from inference.engine.grader import load_grader
from inference.engine.synthetic import draw_fundus
from inference.engine.transforms import band_to_images, photo_to_band


@pytest.fixture(scope="module")
def contents(eyes, encode):
    return [encode(eye) for eye in eyes]


def _numbers(grading):
    return (grading.probabilities, grading.referable_probability, grading.grade)


def test_grading_is_whole_and_consistent(grader, contents):
    for grading in grader.grade([grader.prepare(content) for content in contents]):
        assert grading.quality == "good"
        assert sum(grading.probabilities) == pytest.approx(1)
        assert grading.referable == (grading.referable_probability >= 0.5)
        assert grading.vision_threatening_probability <= grading.referable_probability
        assert grading.heatmap_png.startswith(b"\x89PNG")
        assert grading.model_version == grader.version


def test_probability_is_not_constant(grader, contents):
    gradings = grader.grade([grader.prepare(content) for content in contents])
    assert np.std([grading.referable_probability for grading in gradings]) > 0


def test_hundred_repeats_are_identical(grader, contents):
    prepared = grader.prepare(contents[0])
    first = grader.grade([prepared])[0]
    assert all(grader.grade([prepared])[0] == first for _ in range(100))
    assert grader.grade([grader.prepare(contents[0])])[0] == first


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="This machine has no GPU.")


@pytest.mark.parametrize("device", ["torch-cpu", "cpu", pytest.param("cuda", marks=on_a_gpu)])
def test_batch_mix_changes_nothing(device, artefact_directory, contents):
    grader = load_grader(artefact_directory, device=device)
    prepared = [grader.prepare(content) for content in contents]
    together = grader.grade(prepared)
    for place, each in enumerate(prepared):
        alone = grader.grade([each])[0]
        assert alone.probabilities == pytest.approx(together[place].probabilities, abs=1e-5)
        assert alone.grade == together[place].grade


def test_openvino_and_torch_agree(artefact_directory, contents):
    gradings = []
    for device in ("torch-cpu", "cpu"):
        grader = load_grader(artefact_directory, device=device)
        grader.self_check()
        gradings.append(grader.grade([grader.prepare(content) for content in contents]))
    for one, other in zip(*gradings, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert one.grade == other.grade


def test_rejected_photograph_has_no_grade_and_keeps_its_place(grader, contents, encode):
    dark = encode(draw_fundus(3, quality="dark", size_px=(400, 400)))
    first, middle, last = grader.grade(
        [grader.prepare(contents[0]), grader.prepare(dark), grader.prepare(contents[1])]
    )
    assert middle.quality == "reject"
    assert middle.quality_reasons == ("dark",)
    assert _numbers(middle) == (None, None, None)
    assert middle.referable is None
    assert middle.heatmap_png is None
    alone = grader.grade([grader.prepare(contents[0])])[0]
    assert first.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert last.grade is not None


def test_nothing_to_grade_gives_nothing(grader):
    assert grader.grade([]) == []


def test_prepare_is_thread_safe(grader, contents):
    alone = [grader.prepare(content).image for content in contents]
    with ThreadPoolExecutor(4) as pool:
        threaded = [each.image for each in pool.map(grader.prepare, contents)]
    for one, other in zip(alone, threaded, strict=True):
        assert np.array_equal(one, other)


def test_serving_input_equals_training_input_without_augmentation(grader, eyes, contents):
    spec = load_artefact(grader._artefact.directory).manifest.preprocessing
    trained_on = band_to_images(np.stack([photo_to_band(eye, spec) for eye in eyes]), spec)
    for row, content in zip(trained_on, contents, strict=True):
        np.testing.assert_allclose(grader.prepare(content).image, row.numpy(), atol=1e-5)


def test_unreadable_bytes_say_what_to_do(grader):
    with pytest.raises(UnreadableImage) as caught:
        grader.prepare(b"not a picture")
    assert caught.value.code == "unreadable_image"
    assert caught.value.cure


def test_torch_shortens_no_numbers(artefact_directory):
    artefact = load_artefact(artefact_directory)
    width, height = artefact.manifest.preprocessing.size_px
    seen = []
    artefact.network.body.register_forward_hook(
        lambda body, given, features: seen.append((features.dtype, torch.is_autocast_enabled()))
    )

    load_classifier(artefact, "torch-cpu").predict(np.zeros((1, 3, height, width), np.float32))

    assert seen == [(torch.float32, False)]
    assert not torch.backends.cudnn.allow_tf32


def test_missing_gpu_is_said_and_not_worked_around(artefact_directory, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(EngineError, match="cuda"):
        load_classifier(load_artefact(artefact_directory), "cuda")


IMPORTS = """
import json, sys
import inference.engine, inference.engine.schemas, inference.engine.errors
import inference.engine.synthetic
light = [m for m in ("torch", "openvino", "django", "celery", "scipy") if m in sys.modules]
import inference.engine.grader
heavy = [m for m in ("django", "celery", "openvino_telemetry") if sys.modules.get(m)]
import openvino.tools.ovc.telemetry_utils as telemetry
print(json.dumps([light, heavy, telemetry.tm.__name__]))
"""


def test_engine_imports_stay_light_and_openvino_stays_silent():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=120
    )
    light, heavy, telemetry = json.loads(done.stdout)
    assert light == []
    assert heavy == []
    assert telemetry == "openvino.tools.ovc.telemetry_stub"
