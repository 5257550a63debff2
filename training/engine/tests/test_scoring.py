import math
from dataclasses import replace

import numpy as np
import pytest

from training.engine.datasets import graded, read_eyes
from training.engine.scoring import single_figure


@pytest.fixture
def eyes(data):
    eyes = graded(read_eyes(data), "val")[:8]
    grades = (0, 2, 0, 3, 0, 2, 0, 3)
    sources = ("a", "a", "a", "a", "b", "b", "b", "b")
    return [
        replace(eye, grade=grade, source=source, variant="colour512")
        for eye, grade, source in zip(eyes, grades, sources, strict=True)
    ]


def _scores(*grades):
    return np.array([[1.0 if grade > at else -1.0 for at in range(4)] for grade in grades])


def test_figure_is_one_when_every_grade_is_right(eyes):
    assert single_figure(eyes, _scores(*(eye.grade for eye in eyes))) == pytest.approx(1.0)


def test_figure_is_not_fooled_by_knowing_the_source(eyes):
    # All of b called referable: nothing is told apart within either source.
    blind = single_figure(eyes, _scores(0, 0, 0, 0, 3, 3, 3, 3))
    assert blind == pytest.approx((0.5 + 0.0) / 2, abs=0.05)


def test_false_colour_has_no_say(eyes):
    false = [replace(eye, variant="equalised256") for eye in eyes[4:]]
    right = _scores(*(eye.grade for eye in eyes[:4]), 3, 0, 3, 0)
    assert single_figure([*eyes[:4], *false], right) == pytest.approx(1.0)
    assert math.isnan(single_figure(false, right[4:]))
