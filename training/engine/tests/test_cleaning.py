import csv
from pathlib import Path

import pytest
from PIL import Image

from training.engine.cleaning import clean_dataset
from training.engine.datasets import read_eyes
from training.engine.errors import DataInvalid
from training.engine.labels import read_rows, read_sidecar
from training.engine.tests.drawn import drawn, jpeg, make_folder, row_of

OTHERS = 24


def _cut(photo: Image.Image, share: float) -> Image.Image:
    reach = round(share * photo.width)
    return photo.crop((reach, reach // 2, photo.width - reach // 3, photo.height - reach))


def _copies(seed: int) -> list[bytes]:
    photo = drawn(seed)
    return [
        jpeg(photo),
        jpeg(photo, 60),
        jpeg(photo.resize((112, 112), Image.Resampling.BILINEAR), 85),
        jpeg(_cut(photo, 0.03), 90),
        jpeg(photo.point(lambda level: min(255, round(1.12 * level))), 90),
    ]


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    """Twenty-four eyes, ten duplicates of the first ten, three conflicts of the next three."""
    pictures = [(row_of(n, jpeg(drawn(n))), jpeg(drawn(n))) for n in range(OTHERS)]
    for n in range(10):
        content = _copies(n)[n % 5]
        cells = {"grade": str(n % 5), "patient": f"other{n}"}
        pictures.append((row_of(100 + n, content, **cells), content))
    for n in range(10, 13):
        content = _copies(n)[n - 10]
        cells = {"grade": str((n + 2) % 5), "patient": f"other{n}"}
        pictures.append((row_of(100 + n, content, **cells), content))
    return make_folder(tmp_path_factory.mktemp("planted"), pictures)


@pytest.fixture(scope="module")
def cleaned(planted):
    return clean_dataset(planted)


def test_ten_planted_duplicates_are_found_and_nothing_else(planted, cleaned):
    groups: dict[str, set[str]] = {}
    for row in read_sidecar(planted, "groups.csv"):
        groups.setdefault(row["group"], set()).add(row["image"])
    told = {frozenset(group) for group in groups.values()}
    assert told == {frozenset({f"eyes/{n}.jpg", f"eyes/{100 + n}.jpg"}) for n in range(13)}


def test_three_planted_conflicts_are_quarantined_on_both_sides(planted, cleaned):
    rows = read_sidecar(planted, "quarantine.csv")
    conflicts = {row["image"] for row in rows if row["reason"] == "conflicting_grades"}
    assert conflicts == {f"eyes/{n + side}.jpg" for n in range(10, 13) for side in (0, 100)}
    assert all(row["what_to_do"] and row["beside"] for row in rows)


def test_of_equal_pictures_one_stays_and_near_ones_stay_in_a_group(planted, cleaned):
    eyes = {eye.image: eye for eye in read_eyes(planted)}
    for n in range(10):
        equal = n % 5 == 0
        assert (f"eyes/{100 + n}.jpg" in eyes) is not equal
        assert eyes[f"eyes/{n}.jpg"].group
    assert cleaned.reasons == {"conflicting_grades": 6, "duplicate": 2}
    assert {eye.group for eye in eyes.values() if eye.image == "eyes/20.jpg"} == {""}


def test_cleaning_changes_neither_labels_nor_pictures(planted, cleaned):
    assert len(list(read_rows(planted))) == OTHERS + 13
    assert len(list((planted / "eyes").iterdir())) == OTHERS + 13


def test_dry_run_writes_nothing_and_another_folder_is_possible(tmp_path):
    content = jpeg(drawn(1))
    data = make_folder(tmp_path / "data", [(row_of(1), content), (row_of(6), content)])
    told = clean_dataset(data, write=False)
    assert told.reasons == {"duplicate": 1}
    assert sorted(path.name for path in data.iterdir()) == ["eyes", "labels.csv"]
    clean_dataset(data, out=tmp_path / "told")
    assert sorted(path.name for path in data.iterdir()) == ["eyes", "labels.csv"]
    assert read_sidecar(tmp_path / "told", "quarantine.csv")[0]["image"] == "eyes/6.jpg"


def test_broken_small_missing_and_mislabelled_pictures_are_named(tmp_path):
    good = jpeg(drawn(1))
    pictures = [
        (row_of(1), good),
        (row_of(2), good[: len(good) // 2]),
        (row_of(3), jpeg(drawn(3).resize((80, 80)))),
        (row_of(4), jpeg(drawn(4))),
        (row_of(5, grade="7"), jpeg(drawn(5))),
        (row_of(6), b""),
    ]
    data = make_folder(tmp_path, pictures)
    (data / "eyes/4.jpg").unlink()
    clean_dataset(data)
    reasons = {row["image"]: row["reason"] for row in read_sidecar(data, "quarantine.csv")}
    assert reasons == {
        "eyes/2.jpg": "unreadable",
        "eyes/3.jpg": "too_small",
        "eyes/4.jpg": "missing",
        "eyes/5.jpg": "invalid_row",
        "eyes/6.jpg": "unreadable",
    }
    assert [eye.image for eye in read_eyes(data)] == ["eyes/1.jpg"]


def test_patient_and_copy_in_two_splits_stay_where_they_are_checked(tmp_path):
    content = jpeg(drawn(1))
    pictures = [
        (row_of(1, split="train"), content),
        (row_of(6, split="val"), jpeg(drawn(1), 70)),
        (row_of(2, split="train", patient="same"), jpeg(drawn(2))),
        (row_of(3, split="second_site", patient="same"), jpeg(drawn(3))),
        (row_of(4, split="train"), jpeg(drawn(4))),
    ]
    data = make_folder(tmp_path, pictures)
    told = clean_dataset(data)
    assert told.reasons == {"in_two_splits": 2}
    assert len(told.across) == 2
    left = {eye.image: eye.split for eye in read_eyes(data)}
    assert left == {"eyes/6.jpg": "val", "eyes/3.jpg": "second_site", "eyes/4.jpg": "train"}


def test_picture_that_is_listed_twice_is_named_and_never_lost_as_its_own_duplicate(tmp_path):
    pictures = [(row_of(n), jpeg(drawn(n))) for n in (1, 2, 2)]
    data = make_folder(tmp_path, pictures)
    with pytest.raises(DataInvalid, match="listed before"):
        read_eyes(data)
    assert clean_dataset(data).reasons == {"listed_twice": 2}


def test_decision_that_a_spreadsheet_saved_is_heard(tmp_path):
    content = jpeg(drawn(1))
    data = make_folder(tmp_path, [(row_of(1), content), (row_of(6), content)])
    clean_dataset(data)
    text = (data / "quarantine.csv").read_text()
    (data / "quarantine.csv").write_text("\ufeff" + text.rstrip("\n") + " Keep\r\n", newline="")
    assert len(read_eyes(data)) == 2
    (data / "quarantine.csv").write_text(text.replace(",", ";"))
    with pytest.raises(DataInvalid, match="no column image, reason"):
        read_eyes(data)


def test_person_who_decides_to_keep_a_row_is_heard_in_the_next_round_too(tmp_path):
    content = jpeg(drawn(1))
    data = make_folder(tmp_path, [(row_of(1), content), (row_of(6), content)])
    clean_dataset(data)
    rows = read_sidecar(data, "quarantine.csv")
    rows[0]["decision"] = "keep"
    with (data / "quarantine.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    clean_dataset(data)
    assert len(read_eyes(data)) == 2


def test_pictures_without_anything_to_see_are_not_taken_for_duplicates(tmp_path):
    black = [jpeg(Image.new("RGB", (128, 128), (level, level, level))) for level in (2, 5)]
    data = make_folder(tmp_path, [(row_of(n), content) for n, content in enumerate(black)])
    assert clean_dataset(data).groups == 0
