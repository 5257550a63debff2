import io
import os
import tarfile

import pytest

from training.engine.datasets import load_bands, read_eyes
from training.engine.errors import DataInvalid
from training.engine.importing import ImportPlan, import_dataset
from training.engine.labels import COLUMNS, parse_grade, read_rows, read_sidecar
from training.engine.pictures import read_pictures
from training.engine.tests.conftest import SMALL
from training.engine.tests.drawn import drawn, jpeg, make_folder, row_of, write_rows


def _put(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(drawn(1)) if content is None else content)


@pytest.fixture
def table(tmp_path):
    source = tmp_path / "kaggle"
    for name in ("10_left", "10_right", "11_left"):
        _put(source / "train" / f"{name}.jpeg", jpeg(drawn(len(name))))
    _put(source / "train" / "12_left.jpeg", b"no picture")
    lines = ["image,level", "10_left,0", "10_right,4", "11_left,2", "12_left,1", "13_left,1"]
    lines += ["10_left,0", "11_right,9"]
    (source / "labels-of-kaggle.csv").write_text("\n".join(lines) + "\n")
    return source


@pytest.mark.parametrize(
    ("name", "grade"),
    [
        ("No_DR", 0),
        ("no dr", 0),
        ("Mild", 1),
        ("MODERATE", 2),
        ("Severe", 3),
        ("Proliferate_DR", 4),
        ("Proliferative DR", 4),
        ("3", 3),
        ("5", None),
        ("other", None),
    ],
)
def test_grade_is_known_by_its_names(name, grade):
    assert parse_grade(name) == grade


def test_folder_per_grade_comes_in_and_strange_folders_are_told(tmp_path):
    for number, folder in enumerate(("No_DR", "Mild", "moderate", "Severe", "Proliferate_DR")):
        _put(tmp_path / "in" / folder / f"a{number}.jpg")
    _put(tmp_path / "in" / "thumbnails" / "b.jpg")
    told = import_dataset(ImportPlan(source=tmp_path / "in", name="classes"), tmp_path / "out")
    assert (told.rows, told.refused) == (5, 1)
    assert {eye.image: eye.grade for eye in read_eyes(tmp_path / "out")} == {
        "classes/No_DR/a0.jpg": 0,
        "classes/Mild/a1.jpg": 1,
        "classes/moderate/a2.jpg": 2,
        "classes/Severe/a3.jpg": 3,
        "classes/Proliferate_DR/a4.jpg": 4,
    }
    assert tuple(next(read_rows(tmp_path / "out"))) == COLUMNS


@pytest.mark.parametrize("shard_mb", [0, 1])
def test_table_names_patient_and_eye_and_bands_can_be_read(table, tmp_path, shard_mb):
    out = tmp_path / "out"
    told = import_dataset(ImportPlan(source=table, name="eyepacs", shard_mb=shard_mb), out)
    eyes = read_eyes(out)
    assert [(eye.patient, eye.eye, eye.grade) for eye in eyes] == [
        ("eyepacs:10", "left", 0),
        ("eyepacs:10", "right", 4),
        ("eyepacs:11", "left", 2),
    ] or shard_mb
    assert {bool(eye.shard) for eye in eyes} == {bool(shard_mb)}
    assert (
        load_bands(eyes, data=out, cache=tmp_path / "cache", spec=SMALL).any(axis=(1, 2, 3)).all()
    )
    assert (told.rows, told.refused) == (3, 4)


def test_every_refused_row_has_its_line_and_reason(table, tmp_path):
    import_dataset(ImportPlan(source=table, name="eyepacs"), tmp_path / "out")
    refused = read_sidecar(tmp_path / "out" / "eyepacs", "refused.csv")
    assert [row["where"] for row in refused] == [
        "line 5: 12_left",
        "line 6: 13_left",
        "line 7: 10_left",
        "line 8: 11_right",
    ]
    assert "not a photograph" in refused[0]["reason"]
    assert "no file" in refused[1]["reason"]
    assert "before" in refused[2]["reason"]
    assert "9" in refused[3]["reason"]


def test_picture_listed_with_two_grades_does_not_come_in(tmp_path):
    source = tmp_path / "in"
    _put(source / "a.png", jpeg(drawn(1)))
    _put(source / "b.png", jpeg(drawn(2)))
    (source / "train.csv").write_text("id_code,diagnosis\na,1\na,2\nb,0\n")
    told = import_dataset(ImportPlan(source=source, name="aptos"), tmp_path / "out")
    assert (told.rows, told.refused) == (1, 2)


def test_data_folder_comes_in_with_its_labels_shards_and_splits(data, tmp_path):
    out = tmp_path / "out"
    told = import_dataset(ImportPlan(source=data, name="again", shard_mb=1), out)
    old = {eye.image: eye for eye in read_eyes(data)}
    new = {eye.image.removeprefix("again/"): eye for eye in read_eyes(out)}
    assert told.rows == len(new) == len(old)
    for name, eye in old.items():
        assert (eye.grade, eye.split, eye.patient, eye.sha256) == (
            new[name].grade,
            new[name].split,
            new[name].patient,
            new[name].sha256,
        )


def test_splits_can_be_left_behind(data, tmp_path):
    plan = ImportPlan(source=data, name="again", with_splits=False)
    import_dataset(plan, tmp_path / "out")
    assert {eye.split for eye in read_eyes(tmp_path / "out")} == {""}


def test_row_without_its_picture_is_refused(tmp_path):
    content = jpeg(drawn(1))
    source = make_folder(tmp_path / "in", [(row_of(1), content), (row_of(2), content)])
    (source / "eyes/2.jpg").unlink()
    told = import_dataset(ImportPlan(source=source, name="some"), tmp_path / "out")
    assert (told.rows, told.refused) == (1, 1)


def test_second_source_joins_the_first_and_nothing_is_overwritten(table, tmp_path):
    out = tmp_path / "out"
    import_dataset(ImportPlan(source=table, name="first"), out)
    with pytest.raises(DataInvalid, match="--name"):
        import_dataset(ImportPlan(source=table, name="first"), out)
    import_dataset(ImportPlan(source=table, name="second"), out)
    assert [eye.source for eye in read_eyes(out)] == ["first"] * 3 + ["second"] * 3


def test_import_that_was_stopped_leaves_the_table_and_starts_again(table, tmp_path, monkeypatch):
    class Stopped(Exception):
        pass

    def stop(*_args):
        raise Stopped

    out = tmp_path / "out"
    import_dataset(ImportPlan(source=table, name="first"), out)
    before = (out / "labels.csv").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("training.engine.importing._append", stop)
        with pytest.raises(Stopped):
            import_dataset(ImportPlan(source=table, name="second"), out)
    assert (out / "labels.csv").read_bytes() == before
    assert import_dataset(ImportPlan(source=table, name="second"), out).rows == 3


def test_source_of_no_known_kind_and_empty_source_say_what_is_needed(tmp_path):
    with pytest.raises(DataInvalid, match="No_DR"):
        import_dataset(ImportPlan(source=tmp_path, name="x"), tmp_path / "out")
    with pytest.raises(DataInvalid, match="not there"):
        import_dataset(ImportPlan(source=tmp_path / "gone", name="x"), tmp_path / "out")
    (tmp_path / "in" / "No_DR").mkdir(parents=True)
    with pytest.raises(DataInvalid, match="None of 0 rows"):
        import_dataset(ImportPlan(source=tmp_path / "in", name="x"), tmp_path / "out")
    assert not (tmp_path / "out" / "labels.csv").exists()


def test_row_that_points_out_of_the_folder_is_refused(tmp_path):
    content = jpeg(drawn(1))
    source = make_folder(tmp_path / "in", [(row_of(1), content)])
    text = (source / "labels.csv").read_text()
    (source / "labels.csv").write_text(text.replace("eyes/1.jpg", "../in/eyes/1.jpg"))
    with pytest.raises(DataInvalid, match="None of 1 rows"):
        import_dataset(ImportPlan(source=source, name="some"), tmp_path / "out")


def test_shard_that_was_cut_short_is_named(tmp_path):
    content = jpeg(drawn(1))
    source = make_folder(tmp_path / "in", [(row_of(1, shard="s.tar"), content)])
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("eyes/1.jpg")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    (source / "s.tar").write_bytes(file.getvalue()[:700])
    with pytest.raises(DataInvalid, match=r"s\.tar is damaged"):
        import_dataset(ImportPlan(source=source, name="some"), tmp_path / "out")


def test_table_that_joins_keeps_the_columns_that_somebody_added(table, tmp_path):
    out = tmp_path / "out"
    import_dataset(ImportPlan(source=table, name="first"), out)
    lines = (out / "labels.csv").read_text().splitlines()
    noted = [lines[0] + ",note", *(line + ",seen twice" for line in lines[1:])]
    (out / "labels.csv").write_text("\n".join(noted) + "\n")
    import_dataset(ImportPlan(source=table, name="second"), out)
    assert [row["note"] for row in read_rows(out)] == ["seen twice"] * 3 + [""] * 3


def test_table_in_another_encoding_and_with_other_separators_says_what_to_give(table, tmp_path):
    path = table / "labels-of-kaggle.csv"
    for content in ("image,level\nM\xfcller,0\n".encode("latin-1"), b"image;level\n10_left;0\n"):
        path.write_bytes(content)
        with pytest.raises(DataInvalid, match="commas"):
            import_dataset(ImportPlan(source=table, name="x"), tmp_path / "out")


@pytest.mark.parametrize("name", ["labels.csv", "../up", "", "Big"])
def test_name_that_is_no_folder_of_its_own_is_refused(table, tmp_path, name):
    with pytest.raises(DataInvalid, match="--name"):
        import_dataset(ImportPlan(source=table, name=name), tmp_path / "out")


def test_cell_that_a_spreadsheet_would_compute_is_refused(tmp_path):
    content = jpeg(drawn(1))
    pictures = [(row_of(1), content), (row_of(2, patient="=1+1"), content)]
    source = make_folder(tmp_path / "in", pictures)
    assert import_dataset(ImportPlan(source=source, name="some"), tmp_path / "out").refused == 1
    with pytest.raises(DataInvalid, match="like a formula"):
        read_eyes(source)


def test_shard_gives_files_and_second_names_but_follows_no_link(tmp_path):
    content = jpeg(drawn(1))
    names = ("eyes/0.jpg", "eyes/1.jpg", "eyes/2.jpg", "eyes/3.jpg", "../../eyes/4.jpg")
    rows = [row_of(n, shard="s.tar", image=name) for n, name in enumerate(names)]
    source = make_folder(tmp_path / "in", [(row, content) for row in rows[:1]])
    write_rows(source, rows)
    with tarfile.open(source / "s.tar", "w") as archive:
        links = (("", b""), ("eyes/0.jpg", tarfile.LNKTYPE), ("gone.jpg", tarfile.LNKTYPE))
        for name, (target, kind) in zip(
            names, (*links, ("/etc/passwd", tarfile.SYMTYPE)), strict=False
        ):
            member = tarfile.TarInfo(name)
            member.linkname, member.size = target, 0 if target else len(content)
            member.type = kind or tarfile.REGTYPE
            archive.addfile(member, None if target else io.BytesIO(content))
    import_dataset(ImportPlan(source=source, name="some"), tmp_path / "out")
    assert [eye.image for eye in read_eyes(tmp_path / "out")] == [
        "some/eyes/0.jpg",
        "some/eyes/1.jpg",
    ]
    assert dict(read_pictures(source, ["s.tar"], set(names))) == dict.fromkeys(names[:2], content)
    refused = read_sidecar(tmp_path / "out" / "some", "refused.csv")
    assert [row["reason"] for row in refused] == [
        "image '../../eyes/4.jpg' points out of the folder",
        *["its picture is not there"] * 2,
    ]


def test_file_whose_name_is_no_text_is_refused(tmp_path):
    _put(tmp_path / "in" / "0" / "a.jpg")
    (tmp_path / "in" / "0" / "a.jpg").rename(tmp_path / "in" / "0" / os.fsdecode(b"M\xfcller.jpg"))
    _put(tmp_path / "in" / "0" / "b.jpg")
    told = import_dataset(ImportPlan(source=tmp_path / "in", name="some"), tmp_path / "out")
    assert (told.rows, told.refused) == (1, 1)
