import io
import json

import pytest
from django.core.management import CommandError, call_command

from training.engine.tests.drawn import drawn, jpeg


def _said(*words: object) -> str:
    out = io.StringIO()
    call_command(*map(str, words), stdout=out)
    return out.getvalue()


def test_pictures_are_imported_cleaned_split_and_described(tmp_path):
    source, data = tmp_path / "Some Eyes", tmp_path / "data"
    for number in range(10):
        path = source / ("No_DR", "Moderate")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(drawn(number % 9, 128)))
    (source / "No_DR" / "broken.jpg").write_bytes(b"")

    told = _said("import_dataset", source, "--out", data)
    assert "10 pictures came in as some-eyes." in told
    assert "1 rows were refused" in told
    assert "conflicting_grades: 2" in _said("clean_dataset", data, "--dry-run")
    assert not (data / "quarantine.csv").exists()
    _said("clean_dataset", data)
    assert "2 rows without a split" in _said("split_dataset", data, "--val=0.3", "--test=0")
    figures = json.loads(_said("describe_dataset", data, "--json", "--out", data / "report.html"))
    assert figures["rows"] == 8
    assert figures["quarantine"] == {"conflicting_grades": 2}
    assert (data / "report.html").stat().st_size > 10_000


def test_strict_import_fails_when_a_row_was_refused(tmp_path):
    (tmp_path / "in" / "0").mkdir(parents=True)
    (tmp_path / "in" / "0" / "a.jpg").write_bytes(jpeg(drawn(1, 128)))
    (tmp_path / "in" / "0" / "b.jpg").write_bytes(b"")
    with pytest.raises(CommandError, match=r"refused\.csv"):
        call_command("import_dataset", tmp_path / "in", out=tmp_path / "out", strict=True)


@pytest.mark.parametrize("command", ["clean_dataset", "split_dataset"])
def test_folder_without_labels_is_refused(command, tmp_path):
    with pytest.raises(CommandError, match=r"labels\.csv"):
        call_command(command, tmp_path)


def test_description_to_nowhere_says_what_to_give(tmp_path):
    with pytest.raises(CommandError, match="--out"):
        call_command("describe_dataset", tmp_path)
