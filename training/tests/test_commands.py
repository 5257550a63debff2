import io

import pytest
from django.core.management import CommandError, call_command

from inference.engine.testing import make_tiny_artefact


def test_training_without_data_says_which_option_to_give(tmp_path, settings):
    settings.VAR_DIR = tmp_path
    with pytest.raises(CommandError, match="--data"):
        call_command("train_model", data=tmp_path, architecture="tiny_cnn", stdout=io.StringIO())


def test_evaluating_a_broken_model_says_what_to_do(tmp_path, settings):
    settings.VAR_DIR = tmp_path
    model = make_tiny_artefact(tmp_path / "model")
    (model / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(CommandError, match="hash"):
        call_command("evaluate_model", data=tmp_path, model=model, stdout=io.StringIO())


def test_evaluation_knows_no_other_split_than_the_two(tmp_path):
    with pytest.raises(CommandError, match="holdout"):
        call_command("evaluate_model", f"--data={tmp_path}", "--split=holdout")
