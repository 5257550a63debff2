import io
import json

import pytest
from django.core.management import CommandError, call_command

from inference.engine.testing import make_tiny_artefact
from training.engine.evaluation import figures
from training.engine.tests.eyes import make_predictions
from training.management.commands.evaluate import comparison_with_card


def test_training_without_data_says_which_option_to_give(tmp_path, settings):
    settings.VAR_DIR = tmp_path
    with pytest.raises(CommandError, match="--data"):
        call_command("train_model", data=tmp_path, architecture="tiny_cnn", stdout=io.StringIO())


def test_run_whose_time_is_up_is_not_shipped(tmp_path, settings, data):
    settings.VAR_DIR = tmp_path
    said = io.StringIO()
    call_command(
        *("train_model", f"--data={data}", "--arch=tiny_cnn", "--size-px", "64", "48"),
        *("--minutes=0", f"--ship={tmp_path / 'model'}", "--workers=0"),
        stdout=said,
    )
    assert "nothing is shipped yet" in said.getvalue()
    assert not (tmp_path / "model").exists()


def test_share_of_the_start_is_refused_before_training_where_it_means_nothing(tmp_path, settings):
    settings.VAR_DIR = tmp_path
    ship = f"--ship={tmp_path / 'model'}"
    for options in (["--init=weights.safetensors"], [ship], [ship, "--init=imagenet"]):
        with pytest.raises(CommandError, match="--ship and --init FILE"):
            call_command("train_model", "--start-share=0.5", *options, stdout=io.StringIO())
    with pytest.raises(CommandError, match="Give a number from 0 to 1"):
        call_command("train_model", "--start-share=2", stdout=io.StringIO())


def test_evaluating_a_broken_model_says_what_to_do(tmp_path, settings):
    settings.VAR_DIR = tmp_path
    model = make_tiny_artefact(tmp_path / "model")
    (model / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(CommandError, match="hash"):
        call_command("evaluate", data=tmp_path, model=model, stdout=io.StringIO())


def test_evaluation_knows_no_other_split_than_val_second_site_and_test(tmp_path):
    with pytest.raises(CommandError, match="holdout"):
        call_command("evaluate", f"--data={tmp_path}", "--split=holdout")


def test_evaluating_without_data_says_how_to_name_the_folder(tmp_path, settings):
    settings.VAR_DIR = tmp_path
    model = make_tiny_artefact(tmp_path / "model")
    with pytest.raises(CommandError, match="labels.csv is missing.*--data"):
        call_command("evaluate", data=tmp_path / "absent", model=model, stdout=io.StringIO())


def test_card_is_only_contradicted_about_the_same_eyes():
    told = figures(make_predictions())
    assert "agrees" in comparison_with_card(told, told)
    worse = {**told, "kappa": {**told["kappa"], "value": told["kappa"]["value"] - 0.1}}
    assert "THE CARD DISAGREES" in comparison_with_card(worse, told)
    fewer = figures(make_predictions(120))
    assert "other eyes" in comparison_with_card(fewer, told)
    assert "no figures" in comparison_with_card(told, None)


def test_comparing_with_a_benchmark_prints_counts_and_figures_and_writes_both(tmp_path):
    predicted, benchmark = tmp_path / "predicted.csv", tmp_path / "benchmark.csv"
    predicted.write_text(
        "file,status,grade\n" + "".join(f"a/{n}.jpg,graded,{n % 5}\n" for n in range(20))
    )
    benchmark.write_text("id_code,diagnosis\n" + "".join(f"{n},{n % 5}\n" for n in range(1, 21)))
    printed = io.StringIO()
    call_command("compare_benchmark", predicted, benchmark, out=tmp_path / "out", stdout=printed)
    assert "| compared | 19 |" in printed.getvalue()
    assert "| missing | 1 |" in printed.getvalue()
    assert "quadratic weighted kappa | 1.000" in printed.getvalue()
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert told["names"]["missing"] == ["20"]
    assert (tmp_path / "out" / "labels.png").is_file()


def test_comparing_with_a_table_that_is_not_there_says_so(tmp_path):
    with pytest.raises(CommandError, match="can't be read"):
        call_command("compare_benchmark", tmp_path / "a.csv", tmp_path / "b.csv")
