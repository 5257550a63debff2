import numpy as np
import pytest

from inference.engine import head

SCORES = np.random.default_rng(1).normal(0, 3, (500, 4)).astype(np.float32)


def test_cumulative_probabilities_never_rise():
    cumulative = head.cumulative_probabilities(head.ordered_logits(SCORES), temperature=1.7)
    assert (np.diff(cumulative, axis=1) <= 0).all()
    assert ((cumulative > 0) & (cumulative < 1)).all()


def test_class_probabilities_sum_to_one_and_agree_with_the_thresholds():
    cumulative = head.cumulative_probabilities(head.ordered_logits(SCORES), temperature=1.0)
    classes = head.class_probabilities(cumulative)
    assert classes.shape == (500, 5)
    assert (classes >= 0).all()
    assert classes.sum(axis=1) == pytest.approx(1)
    assert classes[:, 2:].sum(axis=1) == pytest.approx(head.referable_of(cumulative))
    assert classes[:, 3:].sum(axis=1) == pytest.approx(head.vision_threatening_of(cumulative))
    grades = head.grades_of(cumulative)
    assert ((grades >= 2) == (head.referable_of(cumulative) > 0.5)).all()
    assert set(grades) == {0, 1, 2, 3, 4}


def test_temperature_softens_but_keeps_the_grade():
    logits = head.ordered_logits(SCORES)
    sharp = head.cumulative_probabilities(logits, temperature=1.0)
    soft = head.cumulative_probabilities(logits, temperature=3.0)
    assert (np.abs(soft - 0.5) <= np.abs(sharp - 0.5)).all()
    assert (head.grades_of(soft) == head.grades_of(sharp)).all()


def test_extreme_logits_stay_finite():
    cumulative = head.cumulative_probabilities(np.array([[900.0, 0, -900.0, -900.0]]), 1.0)
    assert cumulative[0].tolist() == [1.0, 0.5, 0.0, 0.0]


def test_deciding_threshold_names_the_score_that_each_logit_is():
    deciding = head.deciding_thresholds(SCORES)
    assert np.array_equal(np.take_along_axis(SCORES, deciding, 1), head.ordered_logits(SCORES))
    assert head.deciding_thresholds(np.array([[1.0, 3.0, 0.5, 0.7]])).tolist() == [[0, 0, 2, 2]]
