import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, recall_score, roc_auc_score

from training.engine import metrics

RANDOM = np.random.default_rng(1)
TRUTH = RANDOM.integers(0, 5, 300)
GIVEN = np.clip(TRUTH + RANDOM.integers(-1, 2, 300), 0, 4)
SCORE = np.round(TRUTH + RANDOM.normal(0, 1.5, 300), 1)  # rounded, so that there are ties


def test_auc_equals_scikit_learn_with_ties():
    assert metrics.auc(TRUTH >= 2, SCORE) == pytest.approx(roc_auc_score(TRUTH >= 2, SCORE))


def test_auc_of_one_class_is_not_a_number():
    assert np.isnan(metrics.auc(np.ones(5, bool), np.arange(5)))


def test_kappa_equals_scikit_learn():
    expected = cohen_kappa_score(TRUTH, GIVEN, weights="quadratic", labels=range(5))
    assert metrics.quadratic_kappa(TRUTH, GIVEN) == pytest.approx(expected)
    assert metrics.quadratic_kappa(TRUTH, TRUTH) == 1


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


def test_bootstrap_covers_the_figure_and_narrows_with_more_eyes():
    def width(n):
        low, high = metrics.bootstrap(metrics.auc, TRUTH[:n] >= 2, SCORE[:n], draws=200)
        assert low < metrics.auc(TRUTH[:n] >= 2, SCORE[:n]) < high
        return high - low

    assert width(300) < width(60)
    assert metrics.bootstrap(metrics.auc, TRUTH >= 2, SCORE, draws=50) == metrics.bootstrap(
        metrics.auc, TRUTH >= 2, SCORE, draws=50
    )


def test_calibration_error_of_a_hand_made_case():
    probability = np.array([0.05, 0.05, 0.95, 0.95])
    assert metrics.calibration_error(np.array([0, 0, 1, 1]), probability) == pytest.approx(0.05)
    assert metrics.calibration_error(np.array([1, 1, 0, 0]), probability) == pytest.approx(0.95)
