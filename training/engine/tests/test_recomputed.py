"""Whoever doubts a figure computes it again from predictions.csv, with nothing but Python."""

import csv
import json
import math
from statistics import NormalDist

import pytest

from training.engine.evaluation import figures
from training.engine.report import write_report
from training.engine.tests.eyes import make_predictions

ROUNDED = 5.1e-5  # figures.json has four digits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    predictions = make_predictions()
    told = figures(predictions)
    write_report(directory, title="A model", predictions=predictions, figures=told)
    return directory


@pytest.fixture(scope="module")
def told(folder):
    return json.loads((folder / "figures.json").read_text())


@pytest.fixture(scope="module")
def rows(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def counted(rows):
    return [row for row in rows if row["counted"] == "1"]


def table_of(rows):
    table = [[0] * 5 for _ in range(5)]
    for row in rows:
        table[int(row["grade"])][int(row["given_grade"])] += 1
    return table


def kappa_of(table):
    total = sum(map(sum, table))
    across = [sum(row) for row in table]
    down = [sum(row[given] for row in table) for given in range(5)]
    cells = [(i, j) for i in range(5) for j in range(5)]
    missed = sum((i - j) ** 2 * table[i][j] for i, j in cells)
    return 1 - missed / sum((i - j) ** 2 * across[i] * down[j] / total for i, j in cells)


def area_of(positive, scores):
    above = [score for yes, score in zip(positive, scores, strict=True) if yes]
    below = [score for yes, score in zip(positive, scores, strict=True) if not yes]
    won = sum((high > low) + (high == low) / 2 for high in above for low in below)
    return won / (len(above) * len(below))


def wilson(hits, total):
    z = NormalDist().inv_cdf(0.975)
    share, scale = hits / total, 1 + z * z / total
    centre = share + z * z / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale)


def same_share(told, hits, total):
    low, high = wilson(hits, total)
    assert (told["hits"], told["total"]) == (hits, total)
    assert told["value"] == pytest.approx(hits / total, abs=ROUNDED)
    assert (told["low"], told["high"]) == pytest.approx((low, high), abs=ROUNDED)


def error_of(positive, probabilities):
    bins = [[] for _ in range(10)]
    for pair in zip(positive, probabilities, strict=True):
        bins[min(int(pair[1] * 10), 9)].append(pair)
    gaps = [abs(sum(y for y, _ in each) - sum(p for _, p in each)) for each in bins]
    return sum(gaps) / len(probabilities)


def at_least(rows, grade):
    return [int(row["grade"]) >= grade for row in rows]


def same_calls(told, rows, name, grade):
    """Sensitivity and specificity at the operating point, and the area, equal the file's."""
    positive, called = at_least(rows, grade), [row[name] == "1" for row in rows]
    pairs = list(zip(positive, called, strict=True))
    same_share(told["sensitivity"], pairs.count((True, True)), positive.count(True))
    same_share(told["specificity"], pairs.count((False, False)), positive.count(False))
    area = area_of(positive, [float(row[f"logit_{grade}"]) for row in rows])
    assert told["auc"]["value"] == pytest.approx(area, abs=ROUNDED)


def test_agreement_confusion_and_kappa(told, counted):
    table = table_of(counted)
    assert told["eyes"] == len(counted)
    assert told["confusion"] == table
    assert told["kappa"]["value"] == pytest.approx(kappa_of(table), abs=ROUNDED)
    same_share(told["exact_agreement"], sum(table[g][g] for g in range(5)), len(counted))


def test_precision_recall_f1_and_area_of_each_grade(told, counted):
    table, f1s = table_of(counted), []
    for grade, each in enumerate(told["per_grade"]):
        hits, there = table[grade][grade], sum(table[grade])
        given = sum(row[grade] for row in table)
        same_share(each["recall"], hits, there)
        same_share(each["precision"], hits, given)
        f1s.append(2 * hits / (there + given))
        assert each["f1"] == pytest.approx(f1s[-1], abs=ROUNDED)
        score = [float(row[f"probability_{grade}"]) for row in counted]
        area = area_of([int(row["grade"]) == grade for row in counted], score)
        assert each["auc"]["value"] == pytest.approx(area, abs=ROUNDED)
    assert told["macro"]["f1"]["value"] == pytest.approx(sum(f1s) / 5, abs=ROUNDED)


def test_areas_of_the_four_thresholds(told, counted):
    for grade, each in enumerate(told["thresholds"], start=1):
        area = area_of(at_least(counted, grade), [float(row[f"logit_{grade}"]) for row in counted])
        assert each["auc"]["value"] == pytest.approx(area, abs=ROUNDED)


@pytest.mark.parametrize(("name", "grade"), [("referable", 2), ("vision_threatening", 3)])
def test_sensitivity_specificity_and_calibration(told, counted, name, grade):
    same_calls(told[name], counted, name, grade)
    positive, calibration = at_least(counted, grade), told["calibration"][name]
    after = [float(row[f"{name}_probability"]) for row in counted]
    before = [1 / (1 + math.exp(-float(row[f"logit_{grade}"]))) for row in counted]
    for when, probability in (("before", before), ("after", after)):
        error = error_of(positive, probability)
        brier = sum((p - y) ** 2 for p, y in zip(probability, positive, strict=True))
        assert calibration["error"][when] == pytest.approx(error, abs=ROUNDED)
        assert calibration["brier"][when] == pytest.approx(brier / len(counted), abs=ROUNDED)
        assert sum(each["eyes"] for each in calibration["bins"][when]) == len(counted)


def test_every_source_and_camera(told, rows):
    usable = [row for row in rows if row["grade"] and row["gradable"] != "0"]
    for name, each in told["by_source"].items():
        mine = [row for row in usable if f"{row['source']} {row['variant']}" == name]
        same_calls(each["referable"], mine, "referable", 2)
        assert each["kappa"]["value"] == pytest.approx(kappa_of(table_of(mine)), abs=ROUNDED)
    for name, each in told["by_camera"].items():
        same_calls(each["referable"], [r for r in usable if r["camera"] == name], "referable", 2)
    assert len(told["by_source"]) == 3
    assert len(told["by_camera"]) == 2


def test_quality_and_maculopathy(told, rows, counted):
    colour = [row for row in rows if row["grade"] and row["variant"] != "equalised256"]
    ungradable = [row for row in colour if row["gradable"] == "0"]
    assert ungradable
    assert not {row["image"] for row in ungradable} & {row["image"] for row in counted}
    same_calls(told["by_quality"]["called ungradable"]["referable"], ungradable, "referable", 2)
    ill = [row for row in counted if row["maculopathy"] == "1"]
    same_calls(told["by_maculopathy"]["yes"]["referable"], ill, "referable", 2)


def test_quality_gate(told, rows):
    judged = [row for row in rows if row["gate_quality"]]
    rejected = [row for row in judged if row["gate_quality"] == "reject"]
    same_share(told["quality"]["rejected"], len(rejected), len(judged))
    known = [row for row in judged if row["gradable"]]
    area = area_of(
        [row["gradable"] == "1" for row in known],
        [float(row["gate_gradable_probability"]) for row in known],
    )
    assert told["quality"]["gradable"]["auc"]["value"] == pytest.approx(area, abs=ROUNDED)


def test_probabilities_agree_with_each_other_and_with_the_grade(rows):
    for row in rows:
        rising = [float(row[f"probability_at_least_{grade}"]) for grade in range(1, 5)]
        assert rising == sorted(rising, reverse=True)
        assert int(row["given_grade"]) == sum(each > 0.5 for each in rising)
        classes = [float(row[f"probability_{grade}"]) for grade in range(5)]
        assert sum(classes) == pytest.approx(1)
        assert sum(classes[2:]) == pytest.approx(float(row["referable_probability"]))
