import re
from collections import Counter

import pytest

from training.engine.datasets import read_eyes
from training.engine.describing import describe_dataset, write_report
from training.engine.errors import DataInvalid
from training.engine.tests.drawn import drawn, jpeg, make_folder, row_of


@pytest.fixture
def described(tmp_path):
    pictures = []
    for n in range(12):
        cells = {"split": ("train", "val")[n % 2], "gradable": "1", "eyeq": "2", "camera": "1.00"}
        pictures.append((row_of(n, **cells), jpeg(drawn(n, 96 + 16 * (n % 2)))))
    data = make_folder(tmp_path, pictures)
    (data / "quarantine.csv").write_text("image,reason,decision\neyes/3.jpg,duplicate,\n")
    (data / "groups.csv").write_text("image,group\neyes/3.jpg,g\neyes/5.jpg,g\n")
    told, samples = describe_dataset(data)
    write_report(data, told, samples, tmp_path / "report.html")
    return data, told, (tmp_path / "report.html").read_text()


def test_figures_equal_the_table_without_quarantine(described):
    data, told, _ = described
    eyes = read_eyes(data)
    assert told.rows == told.patients == len(eyes) == 11
    assert told.splits == Counter(eye.split for eye in eyes)
    for split, grades in told.grades.items():
        assert grades == Counter(str(eye.grade) for eye in eyes if eye.split == split)
    assert told.sizes == {"96 x 96": 6, "112 x 112": 5}
    assert (told.gradable, told.quality) == ({"gradable": 11}, {"reject": 11})
    assert (told.quarantine, told.duplicate_groups, told.in_groups) == ({"duplicate": 1}, 1, 2)


def test_page_shows_the_figures_and_every_sample_and_needs_no_network(described):
    _, told, page = described
    rows = re.findall(r"<th scope=row>([^<]+)<td><i [^>]+></i><td>(\d+)<td>", page)
    assert ("96 x 96", "6") in rows
    assert ("drawn 1.00", "11") in rows
    for split, grades in told.grades.items():
        assert f"{split}: {grades.total()}" in page
    assert page.count("<img src='data:image/jpeg;base64,") == 11
    assert "eyes/3.jpg" not in page
    assert not re.search(r"https?:|//|<script|<link|@import|url\(", _without_pictures(page))


def _without_pictures(page: str) -> str:
    return re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "", page)


def test_json_holds_plain_numbers(described):
    told = described[1].as_json()
    assert told["grades"]["train"] == {"0": 2, "1": 1, "2": 1, "3": 1, "4": 1}
    assert told["rows"] == 11


def test_names_from_the_table_are_escaped(tmp_path):
    row = row_of(1, source="<script>alert(1)</script>", grade="<script>")
    data = make_folder(tmp_path, [(row, jpeg(drawn(1)))])
    told, samples = describe_dataset(data)
    write_report(data, told, samples, tmp_path / "new" / "report.html")
    page = (tmp_path / "new" / "report.html").read_text()
    assert "<script>" not in page
    assert page.count("no valid grade: &lt;script&gt;") == 2


def test_folder_without_rows_is_refused(tmp_path):
    with pytest.raises(DataInvalid, match="quarantine"):
        describe_dataset(make_folder(tmp_path, []))
