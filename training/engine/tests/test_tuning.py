import csv
import io
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from training.engine import tuning
from training.engine.config import Machine
from training.engine.datasets import read_eyes
from training.engine.errors import TrainingError
from training.engine.tests.conftest import silent, tiny_config
from training.engine.tests.processes import started
from training.engine.tuning import TABLE, search, table

NAMES = ("learning_rate", "dropout")
INLINE = Machine(workers=0)


@pytest.fixture
def quick(config):
    return replace(config, epochs=1, painted_share=0.0)


@pytest.fixture
def searched(folders, tmp_path):
    return replace(folders, run=tmp_path / "search")


def _split_off_what_is_kept_for_checking(data, folder):
    """Copy a data folder; second_site's and the test split's pictures get a shard of their own."""
    rows = list(csv.DictReader((data / "labels.csv").read_text().splitlines()))
    site = [row for row in rows if row["split"] == "second_site"]
    for place, row in enumerate(site):
        row["split"], row["shard"] = ("second_site", "test")[place % 2], "kept.tar"
    kept = {row["image"] for row in site}
    with tarfile.open(folder / "kept.tar", "w") as checking:
        for shard in ("shard0.tar", "shard1.tar"):
            with tarfile.open(data / shard) as old, tarfile.open(folder / shard, "w") as new:
                for member in old:
                    content = old.extractfile(member).read()
                    into = checking if member.name in kept else new
                    into.addfile(member, io.BytesIO(content))
    with (folder / "labels.csv").open("w", newline="") as file:
        table_ = csv.DictWriter(file, rows[0].keys())
        table_.writeheader()
        table_.writerows(rows)


def test_search_stopped_within_a_trial_goes_on_with_it(quick, searched):
    two_epochs = replace(quick, epochs=2)
    said = []

    def stop_in_the_third_trial(line: str) -> None:
        said.append(line)
        if line.startswith("trial 2: epoch 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(
            *(two_epochs, searched),
            trials=4,
            names=NAMES,
            machine=INLINE,
            say=stop_in_the_third_trial,
        )
    said.clear()
    told = search(two_epochs, searched, trials=4, names=NAMES, machine=INLINE, say=said.append)
    assert len(told) == 4
    assert any("going on after epoch 1" in line for line in said)
    assert not any("trial 0:" in line or "trial 1:" in line for line in said)
    assert [each.figure for each in told] == sorted((each.figure for each in told), reverse=True)
    first = next(each for each in told if each.number == 0)
    assert first.settings == {"learning_rate": quick.learning_rate, "dropout": quick.dropout}
    saved = list(csv.DictReader((searched.run / TABLE).read_text().splitlines()))
    assert [float(row["figure"]) for row in saved] == [each.figure for each in told]
    assert table(told).count("\n") == 4
    assert not list(searched.run.rglob("checkpoint.pt"))


def test_finished_search_is_not_repeated_and_a_longer_one_goes_on(quick, searched):
    one = search(quick, searched, trials=1, names=NAMES, machine=INLINE, say=silent)
    assert search(quick, searched, trials=1, names=NAMES, machine=INLINE, say=silent) == one
    two = search(quick, searched, trials=2, names=NAMES, machine=INLINE, say=silent)
    assert one[0] in two
    assert len({tuple(each.settings.items()) for each in two}) == 2


def test_search_of_other_options_is_refused(quick, searched):
    search(quick, searched, trials=1, names=NAMES, machine=INLINE, say=silent)
    with pytest.raises(TrainingError, match="other options"):
        search(
            *(replace(quick, seed=9), searched), trials=1, names=NAMES, machine=INLINE, say=silent
        )


def test_search_of_other_eyes_is_refused(quick, searched, monkeypatch):
    search(quick, searched, trials=1, names=NAMES, machine=INLINE, say=silent)
    fewer = [eye for eye in read_eyes(searched.data) if not eye.image.endswith("/5.jpg")]
    monkeypatch.setattr(tuning, "read_eyes", lambda data: fewer)
    with pytest.raises(TrainingError, match="other eyes"):
        search(quick, searched, trials=1, names=NAMES, machine=INLINE, say=silent)


def _searched_without_training(monkeypatch, quick, searched, **how):
    """Search a plain function, so that only what is drawn and journalled is looked at."""

    def reach(trial, _config, _folders, names, *_rest) -> float:
        return sum(tuning.SPACE[name](trial) for name in names)

    monkeypatch.setattr(tuning, "_try", reach)
    return search(quick, searched, names=NAMES, say=silent, **how)


def test_search_killed_at_any_line_of_its_journal_draws_the_same_trials(
    quick, searched, tmp_path, monkeypatch
):
    whole = _searched_without_training(monkeypatch, quick, searched, trials=4)
    drawn = {tuple(each.settings.items()) for each in whole}
    lines = (searched.run / tuning.JOURNAL).read_bytes().splitlines(keepends=True)
    for kept in range(len(lines)):
        cut = replace(searched, run=tmp_path / str(kept))
        cut.run.mkdir()
        torn = b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2]
        (cut.run / tuning.JOURNAL).write_bytes(torn)
        told = _searched_without_training(monkeypatch, quick, cut, trials=4)
        assert {tuple(each.settings.items()) for each in told} == drawn


def test_search_without_trials_is_refused(quick, searched):
    with pytest.raises(TrainingError, match="at least 1"):
        search(quick, searched, trials=0, say=silent)


def test_setting_that_cannot_be_searched_is_refused(quick, searched):
    with pytest.raises(TrainingError, match="architecture.*can't be searched"):
        search(quick, searched, trials=1, names=("architecture",), say=silent)


def _search_and_tell_what_was_opened(folders, told):
    opened = set()
    sys.addaudithook(lambda event, args: opened.add(str(args[0])) if event == "open" else None)
    search(
        replace(tiny_config(), epochs=1),
        folders,
        trials=1,
        names=("dropout",),
        machine=INLINE,
        say=silent,
    )
    told.write_text(" ".join(sorted(Path(name).name for name in opened if name.endswith(".tar"))))


@pytest.mark.processes
def test_search_opens_no_picture_that_is_kept_for_checking(folders, tmp_path):
    apart = tmp_path / "apart"
    apart.mkdir()
    _split_off_what_is_kept_for_checking(folders.data, apart)
    watched = replace(folders, data=apart, cache=tmp_path / "cache")
    process = started(_search_and_tell_what_was_opened, watched, tmp_path / "told")
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "told").read_text() == "shard0.tar shard1.tar"
