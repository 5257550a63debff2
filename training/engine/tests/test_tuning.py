import csv
import io
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest

from training.engine.config import Machine
from training.engine.errors import TrainingError
from training.engine.tests.conftest import silent
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


def test_setting_that_cannot_be_searched_is_refused(quick, searched):
    with pytest.raises(TrainingError, match="architecture.*can't be searched"):
        search(quick, searched, trials=1, names=("architecture",), say=silent)


WATCHED = """
import sys
from dataclasses import replace
from pathlib import Path
from training.engine.config import Folders, Machine
from training.engine.tests.conftest import tiny_config
from training.engine.tuning import search

opened = set()
sys.addaudithook(lambda event, args: opened.add(str(args[0])) if event == "open" else None)
data, cache, run = map(Path, sys.argv[1:])
search(
    replace(tiny_config(), epochs=1),
    Folders(data=data, cache=cache, run=run),
    trials=1,
    names=("dropout",),
    machine=Machine(workers=0),
)
print(sorted(Path(name).name for name in opened if name.endswith(".tar")))
"""


@pytest.mark.processes
def test_search_opens_no_picture_that_is_kept_for_checking(folders, tmp_path):
    apart = tmp_path / "apart"
    apart.mkdir()
    _split_off_what_is_kept_for_checking(folders.data, apart)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(apart), str(tmp_path / "c"), str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['shard0.tar', 'shard1.tar']"
