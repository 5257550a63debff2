import io

import pytest
from django.core.management import CommandError, call_command

from inference.engine.synthetic import draw_fundus
from inference.engine.testing import make_tiny_artefact
from inference.management.commands import grade_folder


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "eyes"
    folder.mkdir()
    for seed in range(3):
        draw_fundus(seed, size_px=(160, 120)).save(folder / f"{seed}.png")
    (folder / "notes.txt").write_text("x")
    return folder


@pytest.fixture
def model(tmp_path):
    return make_tiny_artefact(tmp_path / "model")


def _call(folder, model, **options):
    said = io.StringIO()
    out = options.pop("out", folder.parent / "grades.csv")
    told = {"out": out, "model": model, "device": "torch-cpu", **options}
    call_command("grade_folder", folder, stdout=said, **told)
    return said.getvalue()


# No django_db mark here: pytest-django fails a test that reaches for a database.
def test_folder_is_graded_without_a_database_and_summed_up(folder, model, capfd):
    said = _call(folder, model)
    assert "3 graded, 0 rejected, 0 failed by for-tests-1 on torch-cpu-fp32" in said
    assert "other files, ignored: 1" in said
    assert len((folder.parent / "grades.csv").read_text().splitlines()) == 4
    assert capfd.readouterr().err == ""  # no bar where nobody looks


def test_second_run_says_how_to_go_on(folder, model):
    _call(folder, model)
    with pytest.raises(CommandError, match="--resume"):
        _call(folder, model)
    assert "3 were there before" in _call(folder, model, resume=True)


def test_stopped_run_says_where_it_is_and_can_go_on(folder, model, monkeypatch):
    def stopped(run, done):
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        patch.setattr(grade_folder.FolderRun, "rows", stopped)
        with pytest.raises(CommandError, match="0 of 3.*--resume") as caught:
            _call(folder, model)
    assert caught.value.returncode == 130
    assert "3 graded" in _call(folder, model, resume=True)


def test_broken_model_grades_nothing(folder, model):
    (model / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(CommandError, match="hash"):
        _call(folder, model)
    assert not (folder.parent / "grades.csv").exists()


def test_file_that_can_not_be_written_is_said(folder, model):
    with pytest.raises(CommandError, match="can't be used"):
        _call(folder, model, out=folder / "notes.txt" / "grades.csv")


@pytest.mark.parametrize("options", [{"threads": 0}, {"precision": "int8"}])
def test_option_that_can_not_be_is_refused(folder, model, options):
    with pytest.raises(CommandError):
        _call(folder, model, **options)
