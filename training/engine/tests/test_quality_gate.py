"""The gate that a model is shipped with, on drawn eyes that are spoilt in known ways."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from inference.engine.quality import judge_photo, parse_gate
from inference.engine.quality_measures import measure
from inference.engine.schemas import QualityGate
from inference.engine.synthetic import draw_fundus, draw_not_fundus
from training.engine.datasets import Eye
from training.engine.degrading import DEGRADATIONS, EXPECTED_REASON, degrade
from training.engine.errors import SplitForbidden
from training.engine.quality_gate import (
    LIMITS,
    Judged,
    cross_validated_area,
    fit_gate_on,
    fit_score,
    gate_figures,
    loosened,
    measure_eyes,
)

GATE = fit_gate_on([])
SIZE = (320, 320)


def _eye(number: int, *, gradable: bool, split: str = "train") -> Eye:
    return Eye(
        image=f"{number}.jpg",
        shard="",
        source="drawn",
        variant="colour",
        camera="",
        split=split,
        patient=str(number),
        sha256=str(number),
        grade=0,
        gradable=gradable,
        eye_quality=0 if gradable else 2,
    )


@pytest.fixture(scope="module")
def judged():
    """Eyes whose label follows from one feature, so that a fit has something to find."""
    base, random = measure(draw_fundus(1, size_px=SIZE)), np.random.default_rng(3)
    told = []
    for number in range(160):
        features = {name: float(random.normal()) for name in base.features}
        gradable = features["fine"] > -0.5
        told.append(
            Judged(eye=_eye(number, gradable=gradable), measures=replace(base, features=features))
        )
    return told


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("seed", range(3))
def test_spoilt_eye_is_rejected_with_the_right_reason(name, seed):
    verdict = judge_photo(degrade(draw_fundus(seed, size_px=SIZE), name, seed=seed), gate=GATE)
    assert verdict.quality == "reject"
    assert verdict.reasons[0] == EXPECTED_REASON[name]


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_verdict_is_the_same_at_half_and_double_resolution(name):
    photo = degrade(draw_fundus(31, grade=2, size_px=(480, 480)), name, seed=5)
    verdicts = set()
    for edge in (240, 480, 960):
        verdict = judge_photo(photo.resize((edge, edge), Image.Resampling.LANCZOS), gate=GATE)
        verdicts.add((verdict.quality, verdict.reasons))
    assert len(verdicts) == 1


@pytest.mark.parametrize("seed", range(4))
def test_what_is_no_eye_is_called_so_and_a_good_eye_passes(seed):
    assert judge_photo(draw_not_fundus(seed), gate=GATE).reasons[-1] == "not_fundus"
    assert judge_photo(draw_fundus(seed, size_px=SIZE), gate=GATE).quality == "good"


def test_grey_eye_is_usable_and_says_why():
    grey = draw_fundus(3, size_px=SIZE).convert("L").convert("RGB")
    verdict = judge_photo(grey, gate=GATE)
    assert (verdict.quality, verdict.reasons) == ("usable", ("grey",))


def test_score_finds_what_the_labels_follow_and_survives_json(judged, monkeypatch):
    monkeypatch.setattr("training.engine.quality_gate.RIDGE", 1.0)
    gate = fit_score(GATE, judged)
    assert gate_figures(gate, judged)["auc"][0] > 0.95
    assert cross_validated_area(judged) > 0.6
    assert max(gate.weights, key=lambda name: gate.weights[name].linear) == "fine"
    assert parse_gate(json.loads(json.dumps(asdict(gate)))) == gate


def test_without_enough_ungradable_eyes_the_first_score_stays(judged):
    assert fit_gate_on(judged[:40]).weights == QualityGate().weights


def test_limits_are_loosened_until_good_eyes_pass():
    dim = replace(measure(draw_fundus(1, size_px=SIZE)), brightness=20.0)
    by_measure = {limit.measure: limit for limit in loosened([dim])}
    assert by_measure["brightness"].reject == 20.0
    untouched = {limit.measure: limit for limit in LIMITS}
    assert by_measure["burnt"] == untouched["burnt"]


@pytest.mark.parametrize("sign", [-1, 1])
def test_loosened_limit_lets_the_worst_good_eye_pass(sign):
    limit = next(each for each in LIMITS if each.sign == sign)
    worst = limit.reject + sign * 0.001004 * limit.reject / 3
    eye = replace(measure(draw_fundus(1, size_px=SIZE)), **{limit.measure: worst})
    by_measure = {each.measure: each for each in loosened([eye])}
    assert sign * worst <= sign * by_measure[limit.measure].reject


def test_too_few_patients_give_no_cross_validated_area(judged):
    assert np.isnan(cross_validated_area(judged[:3]))
    assert np.isnan(cross_validated_area([]))


WEIGHT = {"centre": 0.0, "spread": 1.0, "linear": 1.0, "square": 0.0}


@pytest.mark.parametrize(
    "change",
    [
        {"intercept": float("nan")},
        {"hazy_sharpness": float("nan")},
        {"weights": {"shoe_size": WEIGHT}},
    ],
    ids=["not a number", "no number for haze", "unknown feature"],
)
def test_gate_that_cannot_be_applied_is_refused(change):
    told = asdict(GATE)
    with pytest.raises(ValueError, match=r"unknown|not numbers"):
        parse_gate(told | change)


def test_gate_is_never_fitted_on_the_second_site(tmp_path):
    with pytest.raises(SplitForbidden):
        measure_eyes(tmp_path, ("train", "second_site"))
