import csv
import functools
import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inference.engine.folder import COLUMNS, FolderRefused, FolderRun, list_folder
from inference.engine.grader import Grader, load_grader
from inference.engine.synthetic import draw_fundus
from inference.engine.testing import make_tiny_artefact

CORRUPT = ("a/018.jpg", "a/099.png", "c/017.jpg")


class Remembering:
    """A real grader that prepares the same bytes once: the folders here repeat eight pictures."""

    def __init__(self, grader: Grader) -> None:
        self.prepare = functools.cache(grader.prepare)
        self.grade = grader.grade
        self.version, self.sha256, self.backend = grader.version, grader.sha256, grader.backend


@pytest.fixture(scope="module")
def grader(artefact_directory) -> Remembering:
    return Remembering(load_grader(artefact_directory, device="torch-cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A hundred photographs in three folders, three of them corrupt, and a text file."""
    folder = tmp_path_factory.mktemp("camp")
    drawn = []
    for seed in range(8):
        file = io.BytesIO()
        draw_fundus(seed, grade=seed % 5, size_px=(160, 120)).save(file, "JPEG", quality=90)
        drawn.append(file.getvalue())
    for number in range(100):
        place, suffix = ("a", "b", "c")[number % 3], ".png" if number == 99 else ".jpg"
        path = folder / place / f"{number:03d}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(drawn[number % 8])
    (folder / "c" / "017.jpg").write_bytes(b"not a picture")
    (folder / "a" / "018.jpg").write_bytes(drawn[0][:700])
    (folder / "a" / "099.png").write_bytes(b"")
    (folder / "a" / "notes.txt").write_text("not for grading")
    return folder


def _grade(folder, out, grader, **how):
    run = FolderRun(folder, out, grader, threads=2)
    for _ in run.rows(run.start(**how)):
        pass
    return out


def _rows(out):
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(folder, grader, tmp_path_factory) -> Path:
    return _grade(folder, tmp_path_factory.mktemp("out") / "whole.csv", grader)


def test_every_photograph_has_a_row_in_order_and_corrupt_ones_their_error(whole, grader):
    rows = _rows(whole)
    assert tuple(rows[0]) == COLUMNS
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    assert len(rows) == 100
    failed = [row for row in rows if row["status"] == "failed"]
    assert tuple(sorted(row["file"] for row in failed)) == CORRUPT
    assert all(row["error"] and not row["grade"] for row in failed)
    graded = [row for row in rows if row["status"] == "graded"]
    assert graded
    for row in graded:
        assert sum(float(row[f"probability_{grade}"]) for grade in range(5)) == pytest.approx(
            1, abs=1e-5
        )
        assert row["error"] == ""
    assert {row["model_version"] for row in rows} == {grader.version}
    assert sorted(path.name for path in whole.parent.iterdir()) == ["whole.csv"]


def test_rejected_photograph_says_why_and_has_no_grade(tmp_path, grader):
    (tmp_path / "eyes").mkdir()
    draw_fundus(3, quality="dark", size_px=(400, 400)).save(tmp_path / "eyes" / "1.png")
    (row,) = _rows(_grade(tmp_path / "eyes", tmp_path / "o.csv", grader))
    assert (row["status"], row["quality"], row["grade"]) == ("rejected", "reject", "")
    assert "dark" in row["error"]
    assert row["probability_0"] == row["referable_probability"] == ""
    assert 0 <= float(row["gradable_probability"]) <= 1


KILLED = """
import os, signal, sys
from pathlib import Path
from inference.engine.folder import FolderRun
from inference.engine.grader import load_grader
folder, out, model = map(Path, sys.argv[1:])
run = FolderRun(folder, out, load_grader(model, device="torch-cpu"))
for place, _ in enumerate(run.rows(run.start())):
    if place == 2:
        with out.open("ab") as file:
            file.write(b"b/001.jpg,gra")  # torn, as the power may leave it
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.processes
def test_killed_run_that_goes_on_gives_the_same_file(
    folder, whole, grader, artefact_directory, tmp_path
):
    out = tmp_path / "killed.csv"
    command = (sys.executable, "-c", KILLED, folder, out, artefact_directory)
    killed = subprocess.run(command, check=False, timeout=150)
    assert killed.returncode == -signal.SIGKILL
    assert 0 < len(out.read_bytes()) < len(whole.read_bytes())
    _grade(folder, out, grader, resume=True)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.77, 0.999, 1.0])
def test_file_cut_anywhere_is_completed_to_the_same_bytes(folder, whole, grader, tmp_path, share):
    out = tmp_path / "cut.csv"
    run = FolderRun(folder, out, grader)
    next(run.rows(run.start()))
    content = whole.read_bytes()
    out.write_bytes(content[: int(share * len(content))])
    _grade(folder, out, grader, resume=True)
    assert out.read_bytes() == content


@pytest.mark.parametrize("written", [0, 1, 40])
def test_file_stopped_within_its_first_line_is_begun_anew(tmp_path, grader, written):
    eyes = tmp_path / "eyes"
    eyes.mkdir()
    (eyes / "1.jpg").write_bytes(b"")
    whole = _grade(eyes, tmp_path / "whole.csv", grader).read_bytes()
    out = tmp_path / "torn.csv"
    FolderRun(eyes, out, grader).start()
    out.write_bytes(whole[:written])
    assert _grade(eyes, out, grader, resume=True).read_bytes() == whole


def test_whole_file_needs_a_word_before_it_is_written_again(folder, whole, grader, tmp_path):
    out = Path(shutil.copy(whole, tmp_path / "o.csv"))
    with pytest.raises(FolderRefused, match="--restart"):
        _grade(folder, out, grader)
    _grade(folder, out, grader, resume=True)
    assert out.read_bytes() == whole.read_bytes()
    _grade(folder, out, grader, restart=True)
    assert out.read_bytes() == whole.read_bytes()


def test_another_model_does_not_go_on(folder, whole, grader, tmp_path):
    directory = make_tiny_artefact(tmp_path / "other", seed=2, version="2")
    other = load_grader(directory, device="torch-cpu")
    run = FolderRun(folder, tmp_path / "o.csv", grader)
    next(run.rows(run.start()))
    with pytest.raises(FolderRefused, match="another model"):
        _grade(folder, tmp_path / "o.csv", other, resume=True)
    with pytest.raises(FolderRefused, match="another"):
        _grade(folder, Path(shutil.copy(whole, tmp_path / "w.csv")), other, resume=True)


def test_another_folder_does_not_go_on(folder, grader, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    run = FolderRun(copy, tmp_path / "o.csv", grader)
    next(run.rows(run.start()))
    with pytest.raises(FolderRefused, match="another folder"):
        _grade(folder, tmp_path / "o.csv", grader, resume=True)
    shutil.copy(copy / "a" / "000.jpg", copy / "a" / "0000.jpg")
    with pytest.raises(FolderRefused, match="another list"):
        _grade(copy, tmp_path / "o.csv", grader, resume=True)


def test_foreign_file_is_never_touched(folder, grader, tmp_path):
    out = tmp_path / "thesis.csv"
    out.write_text("dear diary\n")
    with pytest.raises(FolderRefused, match="--restart"):
        _grade(folder, out, grader, resume=True)
    assert out.read_text() == "dear diary\n"


def test_names_can_not_run_in_a_spreadsheet_nor_break_a_line(tmp_path, grader):
    eyes = tmp_path / "eyes"
    eyes.mkdir()
    for name in (
        "=1+1.jpg",
        "-2.jpg",
        "@x.jpg",
        "+3.jpg",
        "\uff1d4.jpg",
        "a\nb.jpg",
        'c",d.jpg',
        "é.jpg",
    ):
        (eyes / name).write_bytes(b"")
    out = _grade(eyes, tmp_path / "o.csv", grader)
    names = {row["file"] for row in _rows(out)}
    assert names == {
        *("./=1+1.jpg", "./-2.jpg", "./@x.jpg", "./+3.jpg", "./\uff1d4.jpg"),
        *("a\\x0ab.jpg", 'c",d.jpg', "é.jpg"),
    }
    assert out.read_bytes().count(b"\n") == 9


def test_listing_ignores_what_systems_leave_and_follows_no_circle(tmp_path):
    eyes = tmp_path / "eyes"
    (eyes / "sub").mkdir(parents=True)
    for name in ("2.JPG", "sub/1.tiff", "._2.JPG", "notes.txt", "out.png"):
        (eyes / name).write_bytes(b"")
    (eyes / "sub" / "up").symlink_to(eyes)
    (eyes / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    listing = list_folder(eyes, out=eyes / "out.png")
    assert listing.names == ("2.JPG", "gone.jpg", "sub/1.tiff")
    assert (listing.ignored, listing.links) == (3, 1)


def test_file_that_can_not_be_read_is_a_row_and_stops_nothing(tmp_path, grader, monkeypatch):
    eyes = tmp_path / "eyes"
    eyes.mkdir()
    draw_fundus(1, size_px=(160, 120)).save(eyes / "2.png")
    (eyes / "1.png").symlink_to(tmp_path / "nothing.png")
    (eyes / "3.png").mkdir()
    (eyes / "4.png").write_bytes(b"x")
    read = Path.read_bytes

    def forbidden(path):
        if path.name == "4.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    rows = _rows(_grade(eyes, tmp_path / "o.csv", grader))
    assert [row["file"] for row in rows] == ["1.png", "2.png", "4.png"]
    assert [bool(row["error"]) for row in rows if row["file"] != "2.png"] == [True, True]
    assert "Permission denied" in rows[2]["error"]


def test_second_run_on_the_same_file_is_refused(folder, grader, tmp_path):
    run = FolderRun(folder, tmp_path / "o.csv", grader)
    rows = run.rows(run.start())
    next(rows)
    with pytest.raises(FolderRefused, match="Another run"):
        _grade(folder, tmp_path / "o.csv", grader, restart=True)
    rows.close()


def test_run_that_another_overtook_writes_nothing_twice(tmp_path, grader):
    eyes = tmp_path / "eyes"
    eyes.mkdir()
    (eyes / "1.jpg").write_bytes(b"")
    late = FolderRun(eyes, tmp_path / "o.csv", grader)
    done = late.start()
    whole = _grade(eyes, tmp_path / "o.csv", grader, resume=True).read_bytes()
    with pytest.raises(FolderRefused, match="just now.*--resume"):
        next(late.rows(done))
    assert late.out.read_bytes() == whole


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_folder_without_photographs_is_said(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FolderRefused):
        list_folder(tmp_path / name, out=tmp_path / "o.csv")
    assert os.listdir(tmp_path) == ["empty"]
