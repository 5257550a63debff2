import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
)

from training.engine import metrics

RANDOM = np.random.default_rng(1)
TRUTH = RANDOM.integers(0, 5, 300)
GIVEN = np.clip(TRUTH + RANDOM.integers(-1, 2, 300), 0, 4)
SCORE = np.round(TRUTH + RANDOM.normal(0, 1.5, 300), 1)  # rounded, so that there are ties
PROBABILITY = 1 / (1 + np.exp(2.03 - SCORE))  # on no edge of a bin
PATIENTS = [f"p{row // 2}" for row in range(300)]


def test_auc_equals_scikit_learn_with_ties():
    assert metrics.auc(TRUTH >= 2, SCORE) == pytest.approx(roc_auc_score(TRUTH >= 2, SCORE))


def test_auc_of_one_class_is_not_a_number():
    assert np.isnan(metrics.auc(np.ones(5, bool), np.arange(5)))


def test_area_of_every_draw_equals_scikit_learn_on_the_drawn_rows():
    counts = metrics.resample(PATIENTS, draws=4)
    for draw, area in zip(counts, metrics.aucs(TRUTH >= 2, SCORE, counts), strict=True):
        rows = np.repeat(np.arange(300), draw)
        assert area == pytest.approx(roc_auc_score(TRUTH[rows] >= 2, SCORE[rows]))


def test_kappa_equals_scikit_learn():
    expected = cohen_kappa_score(TRUTH, GIVEN, weights="quadratic", labels=range(5))
    assert metrics.quadratic_kappa(TRUTH, GIVEN) == pytest.approx(expected)
    assert metrics.quadratic_kappa(TRUTH, TRUTH) == 1
    assert np.isnan(metrics.quadratic_kappa([2, 2], [2, 2]))


def test_kappa_of_every_draw_equals_scikit_learn_on_the_drawn_rows():
    counts = metrics.resample(PATIENTS, draws=4)
    kappas = metrics.kappa_of(metrics.confusions(TRUTH, GIVEN, counts))
    for draw, kappa in zip(counts, kappas, strict=True):
        rows = np.repeat(np.arange(300), draw)
        expected = cohen_kappa_score(TRUTH[rows], GIVEN[rows], weights="quadratic")
        assert kappa == pytest.approx(expected)


def test_confusion_and_figures_of_each_grade_equal_scikit_learn():
    table = metrics.confusion(TRUTH, GIVEN)
    assert (table == confusion_matrix(TRUTH, GIVEN, labels=range(5))).all()
    precision, recall, f1, _ = precision_recall_fscore_support(TRUTH, GIVEN, labels=range(5))
    assert metrics.precision_of(table) == pytest.approx(precision)
    assert metrics.recall_of(table) == pytest.approx(recall)
    assert metrics.f1_of(table) == pytest.approx(f1)


def test_grade_that_never_comes_has_figures_of_zero():
    table = metrics.confusion([0, 0, 1], [0, 1, 1])
    assert metrics.f1_of(table)[4] == 0
    assert metrics.precision_of(table)[4] == 0
    assert metrics.recall_of(table)[4] == 0


def test_macro_figures_equal_scikit_learn_where_grades_never_come():
    truth, given = np.array([0, 0, 1, 2, 2, 1]), np.array([0, 1, 1, 2, 3, 1])
    table = metrics.confusion(truth, given)
    expected = precision_recall_fscore_support(truth, given, average="macro", zero_division=0)
    figures = (metrics.precision_of, metrics.recall_of, metrics.f1_of)
    for figure, value in zip(figures, expected, strict=False):
        assert metrics.macro_of(figure, table) == pytest.approx(value)
        assert metrics.macro_of(figure, np.stack([table] * 2)) == pytest.approx([value] * 2)
    assert np.isnan(metrics.macro_of(metrics.f1_of, np.zeros((5, 5))))


def test_sensitivity_and_specificity_equal_scikit_learn():
    positive, called = TRUTH >= 2, GIVEN >= 2
    hits, total = metrics.sensitivity(positive, called)
    assert hits / total == pytest.approx(recall_score(positive, called))
    hits, total = metrics.specificity(positive, called)
    assert hits / total == pytest.approx(recall_score(~positive, ~called))


def test_wilson_equals_published_values():
    # Newcombe 1998: 81 of 263, and 0 of 20.
    assert metrics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert metrics.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert metrics.wilson(0, 0) == (0.0, 1.0)


def test_interval_covers_the_figure_narrows_with_more_eyes_and_repeats():
    def limits(n):
        counts = metrics.resample(PATIENTS[:n], draws=300)
        return metrics.interval(metrics.aucs(TRUTH[:n] >= 2, SCORE[:n], counts))

    few, many = limits(60), limits(300)
    assert many[0] < metrics.auc(TRUTH >= 2, SCORE) < many[1]
    assert many[1] - many[0] < few[1] - few[0]
    assert many == limits(300)


def test_eyes_of_a_patient_are_drawn_together():
    counts = metrics.resample(PATIENTS, draws=20)
    assert (counts[:, ::2] == counts[:, 1::2]).all()
    assert (counts.sum(axis=1) == 300).all()
    assert counts.std() > 0


def test_draws_without_a_class_do_not_spoil_the_interval():
    low, high = metrics.interval(np.array([np.nan, 0.4, 0.6]))
    assert 0.4 <= low < high <= 0.6
    assert np.isnan(metrics.interval(np.array([np.nan]))).all()


def test_calibration_error_of_a_hand_made_case():
    probability = np.array([0.05, 0.05, 0.95, 0.95])
    assert metrics.calibration_error(np.array([0, 0, 1, 1]), probability) == pytest.approx(0.05)
    assert metrics.calibration_error(np.array([1, 1, 0, 0]), probability) == pytest.approx(0.95)


def test_reliability_and_brier_equal_scikit_learn():
    shares, means = calibration_curve(TRUTH >= 2, PROBABILITY, n_bins=10)
    told = [each for each in metrics.reliability(TRUTH >= 2, PROBABILITY) if each[0]]
    assert [mean for _, mean, _ in told] == pytest.approx(means)
    assert [share for _, _, share in told] == pytest.approx(shares)
    expected = brier_score_loss(TRUTH >= 2, PROBABILITY)
    assert metrics.brier(TRUTH >= 2, PROBABILITY) == pytest.approx(expected)
