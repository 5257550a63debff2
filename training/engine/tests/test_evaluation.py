import json
import re
from dataclasses import replace

import numpy as np
import pytest

from training.engine import evaluation
from training.engine.card import comparison_table, split_section
from training.engine.errors import CardIncomplete, DataInvalid, TrainingError
from training.engine.evaluation import compare_models, eyes_of, figures, quality_figures
from training.engine.metrics import auc
from training.engine.plots import forest_plot
from training.engine.report import write_comparison, write_report
from training.engine.tests.eyes import make_predictions

SURE, VAGUE = make_predictions(noise=1.0), make_predictions(noise=4.0)


def test_model_against_itself_differs_in_nothing():
    told = compare_models(SURE, SURE)
    assert told["kappa"]["value"] == told["kappa"]["low"] == told["kappa"]["high"] == 0
    assert told["referable"]["auc"]["value"] == 0


def test_better_model_is_better_beyond_chance_and_the_other_way_round():
    told, back = compare_models(SURE, VAGUE), compare_models(VAGUE, SURE)
    assert told["referable"]["auc"]["low"] > 0
    assert told["kappa"]["low"] > 0
    assert back["kappa"]["value"] == -told["kappa"]["value"]
    counted = SURE.counted.true_colour
    assert told["referable"]["auc"]["here"] == pytest.approx(
        auc(counted.grades >= 2, counted.logits[:, 1]), abs=5e-5
    )
    assert "| referable: area |" in comparison_table(told)


def test_models_are_only_compared_on_the_same_eyes():
    with pytest.raises(DataInvalid, match="other eyes"):
        compare_models(SURE, make_predictions(120))


def test_figures_are_json_without_holes_even_of_very_few_eyes():
    few = SURE.where(lambda eye: eye.source == "aptos2019" and eye.grade == 0)
    told = figures(replace(few, verdicts={}))
    json.dumps(told, allow_nan=False)
    assert told["kappa"]["value"] is None or told["eyes_by_grade"][0] == told["eyes"]
    assert told["referable"]["auc"] is None
    assert "too few" in "\n".join(split_section("few", told))


def test_no_kappa_and_no_calibration_error_is_told_of_a_handful_of_eyes():
    few = SURE.where(lambda eye: int(eye.image[5:-4]) < 18)
    told = figures(few)
    assert 1 < told["eyes"] < 20
    groups = told["by_source"].values()
    assert min(each["eyes"] for each in groups) < 8
    for each in groups:
        known = each["eyes"] >= 8
        assert (each["kappa"]["value"] is not None) is known
        assert (each["referable_calibration_error"]["after"] is not None) is known
    assert compare_models(few, few)["referable"]["auc"]["value"] is None


def test_split_without_an_eye_to_count_is_refused():
    nobody = SURE.where(lambda eye: eye.gradable is False)
    for evaluate in (figures, lambda told: compare_models(told, told)):
        with pytest.raises(DataInvalid, match="another split"):
            evaluate(nobody)


def test_photographs_without_a_patient_are_drawn_one_by_one():
    nameless = replace(SURE, eyes=[replace(eye, patient="") for eye in SURE.eyes])
    area = quality_figures(nameless)["gradable"]["auc"]
    assert area["low"] < area["value"] < area["high"]


def test_network_that_gives_no_numbers_is_not_evaluated(monkeypatch, tmp_path):
    logits = np.array([[1.0, 0.0, -1.0, -2.0], [np.nan] * 4])
    monkeypatch.setattr(evaluation, "load_bands", lambda *_, **__: None)
    monkeypatch.setattr(evaluation, "predict_scores", lambda *_: logits)
    with pytest.raises(TrainingError, match="no number for 1 of 2"):
        evaluation.predict_eyes(None, None, SURE.eyes[:2], data=tmp_path, cache=tmp_path)


def test_source_with_a_sign_of_a_formula_is_drawn_as_it_is_named():
    told = figures(SURE)["by_source"]
    assert forest_plot({"$\\frac$": next(iter(told.values()))}).startswith(b"\x89PNG")


def test_missing_figure_is_named():
    told = figures(SURE)
    del told["calibration"]["referable"]["error"]
    with pytest.raises(CardIncomplete, match=r"metrics\.calibration\.referable\.error is missing"):
        split_section("val", told)


def test_split_without_grades_names_those_that_have_some():
    with pytest.raises(DataInvalid, match="know these splits: val"):
        eyes_of(SURE.eyes, "test")


def test_page_opens_offline_and_names_every_group(tmp_path):
    told = figures(SURE)
    written = write_report(
        tmp_path / "out",
        title="A <model>",
        predictions=SURE,
        figures=told,
        comparison=compare_models(SURE, VAGUE),
        compared_with="the live one",
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert {path.name for path in written} == {path.name for path in (tmp_path / "out").iterdir()}
    addresses = re.findall(r'(?:src|href)="([^"]{0,22})', page)
    assert len(addresses) == 5
    assert all(each.startswith("data:image/png;base64,") for each in addresses)
    assert "//" not in re.sub(r"data:image/png;base64,[^\"]*", "", page)
    assert "A &lt;model&gt;" in page
    assert "Against the live one" in page
    for name in (*told["by_source"], *told["by_camera"], *told["by_quality"]):
        assert name in page
    for path in written:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")


def test_report_without_enough_eyes_is_still_drawn(tmp_path):
    few = SURE.where(lambda eye: eye.source == "aptos2019" and eye.grade == 0)
    write_report(tmp_path, title="few", predictions=few, figures=figures(few))
    assert "too few" in (tmp_path / "report.html").read_text()


def test_comparison_is_written_as_numbers_and_as_a_picture(tmp_path):
    labels = {"by_grade": [3, 1, 0, 0, 2], "none": 0}
    told = {"labels": {"benchmark": labels, "predicted": labels}}
    write_comparison(tmp_path / "out", told)
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == told
    assert (tmp_path / "out" / "labels.png").read_bytes().startswith(b"\x89PNG")
