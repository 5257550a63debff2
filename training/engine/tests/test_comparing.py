import csv
import random

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from training.engine.card import benchmark_lines
from training.engine.comparing import compare_tables
from training.engine.errors import DataInvalid

RANDOM = np.random.default_rng(3)
TRUTH = RANDOM.integers(0, 5, 120)
GIVEN = np.clip(TRUTH + RANDOM.integers(-1, 2, 120), 0, 4)
REFERABLE = np.round(1 / (1 + np.exp(2 - TRUTH + RANDOM.normal(0, 1, 120))), 6)
FOLDER_COLUMNS = ("file", "status", "error", "gradable_probability", "quality", "grade",
                  *(f"probability_{grade}" for grade in range(5)),
                  "referable_probability", "vision_threatening_probability",
                  "model_version")  # fmt: skip


def write(path, columns, rows):
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)
    return path


def folder_rows():
    """Rows as grade_folder writes them: the last three were rejected or could not be read."""
    rows = [
        [f"left/{n}.jpg", "graded", "", 0.9, "good", GIVEN[n], *[""] * 5, REFERABLE[n], 0.1, "m-1"]
        for n in range(120)
    ]
    for n in (117, 118):
        rows[n] = [f"left/{n}.jpg", "rejected", "", 0.1, "reject", *[""] * 8, "m-1"]
    rows[119] = ["left/119.jpg", "failed", "not an image", "", "", *[""] * 8, "m-1"]
    return rows


@pytest.fixture
def predicted(tmp_path):
    return write(tmp_path / "predicted.csv", FOLDER_COLUMNS, folder_rows())


def benchmark_rows():
    return [[str(n), TRUTH[n]] for n in range(120)]


def test_figures_equal_scikit_learn(predicted, tmp_path):
    benchmark = write(tmp_path / "b.csv", ("id_code", "diagnosis"), benchmark_rows())
    told = compare_tables(predicted, benchmark)["figures"]
    truth, given = TRUTH[:117], GIVEN[:117]
    assert told["eyes"] == 117
    kappa = cohen_kappa_score(truth, given, weights="quadratic")
    assert told["kappa"]["value"] == pytest.approx(kappa, abs=5e-5)
    assert told["kappa"]["low"] < kappa < told["kappa"]["high"]
    area = roc_auc_score(truth >= 2, REFERABLE[:117])
    assert told["referable"]["area"]["auc"]["value"] == pytest.approx(area, abs=5e-5)
    assert told["referable"]["sensitivity"]["total"] == (truth >= 2).sum()
    assert told["referable"]["sensitivity"]["hits"] == ((truth >= 2) & (given >= 2)).sum()
    assert told["exact_agreement"]["hits"] == (truth == given).sum()


def test_shuffled_benchmark_gives_the_same(predicted, tmp_path):
    rows = [*benchmark_rows(), ["7", 0]]  # the same name twice, with another grade
    first = compare_tables(predicted, write(tmp_path / "a.csv", ("image", "level"), rows))
    random.Random(1).shuffle(rows)
    second = compare_tables(predicted, write(tmp_path / "b.csv", ("image", "level"), rows))
    assert first == second


def test_missing_extra_and_doubled_names_are_counted_and_listed(predicted, tmp_path):
    rows = [["5.png", 0], ["5", 1], ["900", 2], *benchmark_rows()[10:], ["6", ""]]
    told = compare_tables(predicted, write(tmp_path / "b.csv", ("Image", "Grade"), rows))
    counts, names = told["counts"], told["names"]
    assert names["doubled_in_benchmark"] == ["5"]
    assert names["missing"] == ["900"]
    assert names["without_label"] == ["6"]
    assert set(names["extra"]) == {f"left/{n}.jpg" for n in range(10)} - {"left/6.jpg"}
    assert told["without_grade_by_status"] == {"failed": 1, "rejected": 2}
    joined = counts["compared"] + counts["without_grade"] + counts["without_label"]
    benchmark = joined + counts["missing"] + counts["doubled_in_benchmark"]
    assert benchmark == counts["benchmark_rows"] == len(rows)
    predicted_rows = joined + counts["extra"] + counts["doubled_in_predicted"]
    assert predicted_rows == counts["predicted_rows"] == 120
    for name, labels in told["labels"].items():
        total = counts["compared"] if name.endswith("compared") else None
        assert total is None or sum(labels["by_grade"]) == total


def test_folders_count_when_both_tables_name_them(tmp_path):
    rows = [["a/1.jpg", 0], ["b/1.jpg", 4]]
    told = compare_tables(
        write(tmp_path / "p.csv", ("file", "grade"), rows),
        write(tmp_path / "b.csv", ("file", "grade"), [["a/1", 0], ["b/1", 4], ["c/1", 2]]),
    )
    assert told["counts"]["compared"] == 2
    assert told["names"]["missing"] == ["c/1"]
    assert told["figures"]["exact_agreement"]["value"] == 1.0


def test_lines_without_a_name_are_counted_and_compared_with_nothing(predicted, tmp_path):
    rows = [["", ""], ["", 3], *benchmark_rows()]
    table = write(tmp_path / "b.csv", ("id", "grade"), rows)
    told = compare_tables(table, table)
    assert told["counts"]["without_name_in_predicted"] == 2
    assert told["counts"]["without_name_in_benchmark"] == 2
    assert told["counts"]["doubled_in_benchmark"] == 0
    assert told["counts"]["compared"] == 120


def test_table_as_spreadsheets_and_data_frames_save_it_is_read(predicted, tmp_path):
    path = write(
        tmp_path / "b.csv", ("id", "grade"), [[n, f"{grade}.0"] for n, grade in enumerate(TRUTH)]
    )
    path.write_text("\ufeff" + path.read_text().replace("\n", "\r\n"), newline="")
    assert compare_tables(predicted, path)["counts"]["compared"] == 117


def test_eyes_of_a_patient_are_drawn_together_where_the_benchmark_names_patients(tmp_path):
    rows = [[n, TRUTH[n], GIVEN[n], f"p{n // 20}"] for n in range(120)]
    columns = ("id", "grade", "given_grade", "patient")
    table = write(tmp_path / "b.csv", columns, rows)
    bare = write(tmp_path / "c.csv", columns[:3], [row[:3] for row in rows])
    told, alone = (compare_tables(table, each)["figures"] for each in (table, bare))
    assert (told["patients"], alone["patients"]) == (6, None)
    assert told["kappa"]["value"] == alone["kappa"]["value"]
    assert told["kappa"]["low"] != alone["kappa"]["low"]
    for figures, said in ((told, "6 patients"), (alone, "names no patients")):
        lines = benchmark_lines({**compare_tables(table, bare), "figures": figures})
        assert any(said in line for line in lines)


def test_without_probabilities_there_is_no_area(tmp_path):
    rows = [[str(n), GIVEN[n]] for n in range(120)]
    told = compare_tables(
        write(tmp_path / "p.csv", ("id", "grade"), rows),
        write(tmp_path / "b.csv", ("id", "grade"), benchmark_rows()),
    )
    assert told["figures"]["referable"]["area"] is None


@pytest.mark.parametrize(
    ("columns", "rows", "problem"),
    [
        (("id", "severity"), [["1", 2]], "no column with the grade"),
        (("who", "grade"), [["1", 2]], "no column with the photograph's name"),
        (("id", "grade"), [["1", 5]], "is no grade"),
        (("id", "grade"), [["1", "ill"]], "is no grade"),
        (("id", "grade"), [["other", 1]], "No name stands in both"),
        (("id", "grade"), [], "No name stands in both"),
    ],
)
def test_tables_that_cannot_be_compared_say_why(predicted, tmp_path, columns, rows, problem):
    with pytest.raises(DataInvalid, match=problem):
        compare_tables(predicted, write(tmp_path / "b.csv", columns, rows))


def test_file_that_is_no_table_says_so(predicted, tmp_path):
    with pytest.raises(DataInvalid, match="can't be read"):
        compare_tables(predicted, tmp_path / "absent.csv")
