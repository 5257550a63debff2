import gc
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from training.engine.datasets import read_eyes
from training.engine.errors import DataInvalid
from training.engine.labels import read_rows
from training.engine.splitting import SplitPlan, extend_split, freeze_split, make_split
from training.engine.tests.drawn import row_of, write_rows


def _rows(count, **cells):
    """Two eyes a patient; sources, grades and gradability of uneven sizes."""
    random = np.random.default_rng(5)
    grades = random.choice(5, count, p=(0.55, 0.1, 0.2, 0.05, 0.1))
    return [
        row_of(
            n,
            grade=str(grades[n]),
            patient=f"p{n // 2}",
            source=("near", "far")[n % 7 == 0],
            gradable=("1", "0", "")[n % 3],
            **cells,
        )
        for n in range(count)
    ]


def _splits(data):
    return {row["image"]: row["split"] for row in read_rows(data)}


def test_groups_stay_whole_and_every_grade_is_shared_out_evenly(tmp_path):
    data = write_rows(tmp_path, _rows(3000))
    manifest = make_split(data, SplitPlan(val=0.15, test=0.1, seed=3))
    eyes = read_eyes(data)
    sides: dict[str, set[str]] = {}
    for eye in eyes:
        sides.setdefault(eye.patient, set()).add(eye.split)
    assert {len(side) for side in sides.values()} == {1}
    for grade in range(5):
        here = [eye.split for eye in eyes if eye.grade == grade]
        assert abs(here.count("val") / len(here) - 0.15) < 0.03
        assert abs(here.count("test") / len(here) - 0.1) < 0.03
    counted = {name: told["rows"] for name, told in manifest["splits"].items()}
    assert counted == {name: [eye.split for eye in eyes].count(name) for name in counted}


def test_duplicate_group_and_shared_file_hold_patients_together(tmp_path):
    rows = _rows(400)
    for n in range(0, 200, 20):
        rows[n]["sha256"] = rows[n + 10]["sha256"] = f"file{n}"
    data = write_rows(tmp_path, rows)
    groups = [f"eyes/{n + step}.jpg,g{n}" for n in range(200, 400, 20) for step in (0, 10)]
    (data / "groups.csv").write_text("\n".join(["image,group", *groups]) + "\n")
    make_split(data, SplitPlan())
    splits = _splits(data)
    for n in range(0, 400, 20):
        assert splits[f"eyes/{n}.jpg"] == splits[f"eyes/{n + 11}.jpg"]


def test_same_seed_gives_the_same_split_in_any_order_and_another_seed_another(tmp_path):
    rows = _rows(300)
    told = []
    for name, table, seed in (("a", rows, 1), ("b", rows[::-1], 1), ("c", rows, 2)):
        data = write_rows(tmp_path / name, table)
        make_split(data, SplitPlan(seed=seed))
        told.append(_splits(data))
    assert told[0] == told[1] != told[2]


def test_second_site_is_kept_whole(tmp_path):
    data = write_rows(tmp_path, _rows(140))
    make_split(data, SplitPlan(second_site=("far",)))
    eyes = read_eyes(data)
    assert {eye.split for eye in eyes if eye.source == "far"} == {"second_site"}
    assert "train" in {eye.split for eye in eyes}


def test_second_site_that_no_row_is_of_is_refused_and_the_known_sources_are_named(tmp_path):
    data = write_rows(tmp_path, _rows(140))
    with pytest.raises(DataInvalid, match="one of: far, near"):
        make_split(data, SplitPlan(second_site=("Far",)))
    assert not (data / "split.json").exists()


def test_new_rows_of_a_second_site_stay_there_without_being_named_again(tmp_path):
    rows = [*_rows(140), *(row_of(n, source="far", patient=f"new{n}") for n in range(900, 920))]
    data = write_rows(tmp_path, rows[:140])
    make_split(data, SplitPlan(second_site=("far",)))
    write_rows(data, [*read_rows(data), *rows[140:]])
    manifest = extend_split(data, SplitPlan(seed=4))
    splits = _splits(data)
    assert {splits[row["image"]] for row in rows if row["source"] == "far"} == {"second_site"}
    assert manifest["steps"][1]["second_site"] == ["far"]


def test_source_that_was_learned_from_is_no_second_site_afterwards(tmp_path):
    data = write_rows(tmp_path, _rows(140))
    make_split(data, SplitPlan())
    write_rows(data, [*read_rows(data), row_of(900, source="far", patient="new")])
    with pytest.raises(DataInvalid, match="far are in other splits already"):
        extend_split(data, SplitPlan(second_site=("far",)))


def test_new_second_site_that_shares_a_patient_with_train_is_refused(tmp_path):
    data = write_rows(tmp_path, _rows(140))
    make_split(data, SplitPlan())
    taken = next(row["patient"] for row in read_rows(data) if row["split"] == "train")
    write_rows(data, [*read_rows(data), row_of(900, source="third", patient=taken)])
    with pytest.raises(DataInvalid, match="leave the new rows out"):
        extend_split(data, SplitPlan(second_site=("third",)))


def test_frozen_split_is_not_made_again(tmp_path):
    data = write_rows(tmp_path, _rows(60))
    make_split(data, SplitPlan())
    before = (data / "labels.csv").read_bytes()
    with pytest.raises(DataInvalid, match="--add"):
        make_split(data, SplitPlan(seed=9))
    assert (data / "labels.csv").read_bytes() == before


def test_table_that_was_edited_after_freezing_is_refused(tmp_path):
    data = write_rows(tmp_path, _rows(60))
    make_split(data, SplitPlan())
    text = (data / "labels.csv").read_text()
    (data / "labels.csv").write_text(text.replace(",train,", ",val,", 1))
    with pytest.raises(DataInvalid, match="split_dataset --add"):
        read_eyes(data)
    with pytest.raises(DataInvalid, match="old rows"):
        extend_split(data, SplitPlan())


def test_new_rows_are_added_and_old_ones_keep_their_split(tmp_path):
    rows = _rows(200)
    data = write_rows(tmp_path, rows[:100])
    make_split(data, SplitPlan())
    old = _splits(data)
    joining = row_of(900, patient="p3")
    write_rows(data, [*read_rows(data), *rows[100:], joining])
    manifest = extend_split(data, SplitPlan(seed=4))
    new = _splits(data)
    assert {image: new[image] for image in old} == old
    assert all(new.values())
    assert new["eyes/900.jpg"] == old["eyes/6.jpg"]
    assert [step["what"] for step in manifest["steps"]] == ["split", "add"]
    assert len(read_eyes(data)) == 201


def test_corrected_grade_is_frozen_again_without_moving_anybody(tmp_path):
    data = write_rows(tmp_path, _rows(60))
    make_split(data, SplitPlan())
    rows = list(read_rows(data))
    rows[0]["grade"] = str((int(rows[0]["grade"]) + 1) % 5)
    write_rows(data, rows)
    extend_split(data, SplitPlan())
    assert [eye.split for eye in read_eyes(data)] == [row["split"] for row in rows]


def test_new_row_between_two_splits_is_refused(tmp_path):
    rows = [row_of(n, sha256=f"file{n}") for n in range(40)]
    data = write_rows(tmp_path, rows)
    make_split(data, SplitPlan())
    splits = _splits(data)
    here = next(n for n in range(40) if splits[f"eyes/{n}.jpg"] == "train")
    there = next(n for n in range(40) if splits[f"eyes/{n}.jpg"] == "val")
    bridge = row_of(99, patient=f"p{here}", sha256=f"file{there}")
    write_rows(data, [*read_rows(data), bridge])
    with pytest.raises(DataInvalid, match="clean_dataset"):
        extend_split(data, SplitPlan())


def test_splits_that_leak_are_not_frozen_and_sound_ones_are(tmp_path):
    rows = [row_of(1, split="train"), row_of(2, split="val"), row_of(3, split="val")]
    data = write_rows(tmp_path, rows)
    assert freeze_split(data)["splits"]["val"]["rows"] == 2
    read_eyes(data)
    rows[2]["patient"] = "p1"
    other = write_rows(tmp_path / "leaking", rows)
    with pytest.raises(DataInvalid, match="patient"):
        freeze_split(other)
    assert not (other / "split.json").exists()


def test_split_that_stands_already_is_not_replaced(tmp_path):
    data = write_rows(tmp_path, [row_of(1, split="train"), row_of(2)])
    with pytest.raises(DataInvalid, match="--freeze"):
        make_split(data, SplitPlan())


@pytest.mark.parametrize("stage", ["labels.csv.partial", "labels.csv"])
def test_split_that_was_stopped_is_finished_by_the_next_call(tmp_path, stage, monkeypatch):
    class Stopped(Exception):
        pass

    data = write_rows(tmp_path, _rows(60))
    before = (data / "labels.csv").read_bytes()
    with monkeypatch.context() as patched:
        path_type = type(data)
        really = path_type.replace

        def stop(path, target):
            if path.name == "labels.csv.partial" or stage == "labels.csv.partial":
                raise Stopped
            return really(path, target)

        patched.setattr(path_type, "replace", stop)
        with pytest.raises(Stopped):
            make_split(data, SplitPlan())
    assert (data / "labels.csv").read_bytes() == before
    manifest = make_split(data, SplitPlan())
    assert json.loads((data / "split.json").read_text()) == manifest
    assert all(eye.split for eye in read_eyes(data))


def test_quarantined_rows_get_no_split(tmp_path):
    data = write_rows(tmp_path, _rows(20))
    (data / "quarantine.csv").write_text("image,reason,decision\neyes/3.jpg,duplicate,\n")
    assert make_split(data, SplitPlan())["without_split"] == 1
    assert _splits(data)["eyes/3.jpg"] == ""


@pytest.mark.parametrize(
    "plan", [SplitPlan(val=0.6, test=0.5), SplitPlan(val=-0.1), SplitPlan(val=float("nan"))]
)
def test_shares_that_leave_nothing_are_refused(tmp_path, plan):
    data = write_rows(tmp_path, _rows(20))
    with pytest.raises(DataInvalid, match="add up"):
        make_split(data, plan)


def test_picture_that_is_listed_twice_is_refused(tmp_path):
    data = write_rows(tmp_path, [row_of(1), row_of(1)])
    with pytest.raises(DataInvalid, match="twice"):
        make_split(data, SplitPlan())


def _long_table(folder, count):
    with (folder / "labels.csv").open("w") as file:
        file.write(",".join(row_of(0)) + "\n")
        for n in range(count):
            file.write(f"eyes/{n}.jpg,fundus,colour,drawn,{n % 5},,,,,,,p{n // 2},,,\n")
    return folder


def test_hundred_thousand_rows_are_split(tmp_path):
    manifest = make_split(_long_table(tmp_path, 100_000), SplitPlan())
    assert manifest["splits"]["val"]["rows"] == pytest.approx(15_000, abs=100)


def test_rows_are_split_without_being_held(tmp_path):
    for name, rows in (("first", 100), ("long", 10_000)):  # what the first loads is not counted
        folder = tmp_path / name
        folder.mkdir()
        data = _long_table(folder, rows)
        gc.collect()
        tracemalloc.start()
        make_split(data, SplitPlan())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 * 2**20  # as dictionaries the rows alone would take 15 MiB


def test_overlap_of_duplicate_groups_is_refused_before_training(tmp_path):
    data = write_rows(tmp_path, [row_of(1, split="train"), row_of(2, split="val")])
    (data / "groups.csv").write_text("image,group\neyes/1.jpg,g\neyes/2.jpg,g\n")
    with pytest.raises(DataInvalid, match="group"):
        read_eyes(data)


def test_eye_carries_its_side_and_maculopathy(tmp_path):
    data = write_rows(tmp_path, [row_of(1, eye="left", maculopathy="1")])
    (eye,) = read_eyes(data)
    assert (eye.eye, eye.maculopathy) == ("left", True)
    assert replace(eye, maculopathy=None).maculopathy is None
