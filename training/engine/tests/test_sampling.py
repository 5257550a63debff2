from collections import Counter
from dataclasses import replace

import pytest

from training.engine.datasets import eyes_to_learn_from, read_eyes
from training.engine.sampling import epoch_batches, grade_weights, sample_weights


def test_natural_balance_leaves_every_eye_alone(data):
    eyes = eyes_to_learn_from(read_eyes(data))
    assert (sample_weights(eyes, "natural", 4.0) == 1).all()


def test_camera_balance_evens_referable_within_each_camera(data):
    eyes = eyes_to_learn_from(read_eyes(data))
    weights = sample_weights(eyes, "camera", max_repeat=100.0)
    for domain in {eye.domain for eye in eyes}:
        sides = [
            sum(
                w
                for w, eye in zip(weights, eyes, strict=True)
                if eye.domain == domain and (eye.grade >= 2) == side
            )
            for side in (True, False)
        ]
        assert sides[0] == pytest.approx(sides[1])


def test_grade_balance_evens_the_grades(data):
    eyes = eyes_to_learn_from(read_eyes(data))
    weights = sample_weights(eyes, "grade", max_repeat=100.0)
    totals = [
        sum(w for w, eye in zip(weights, eyes, strict=True) if eye.grade == grade)
        for grade in range(5)
    ]
    assert totals == pytest.approx([totals[0]] * 5)


def _shown_by_grade(config, eyes, epochs=40):
    shown = Counter(
        eyes[place].grade
        for epoch in range(epochs)
        for batch in epoch_batches(config, eyes, epoch)
        for place in batch
    )
    return [shown[grade] / epochs for grade in range(5)]


@pytest.fixture
def uneven(data):
    eyes = eyes_to_learn_from(read_eyes(data))
    grades = [0] * 24 + [1] * 6 + [2] * 3 + [3] * 2 + [4]
    return [replace(eye, grade=grade) for eye, grade in zip(eyes, grades, strict=True)]


def test_oversampling_repeats_rare_grades_as_often_as_it_may(config, uneven):
    over = replace(config, balance="oversample", batch_size=1, max_repeat=8.0)
    assert _shown_by_grade(over, uneven) == pytest.approx([24, 24, 24, 16, 8], abs=0.5)


def test_undersampling_leaves_common_grades_out_and_repeats_none(config, uneven):
    under = replace(config, balance="undersample", batch_size=1, max_repeat=100.0)
    assert _shown_by_grade(under, uneven) == pytest.approx([1] * 5, abs=0.4)
    for epoch in range(10):
        places = [place for batch in epoch_batches(under, uneven, epoch) for place in batch]
        assert len(places) == len(set(places)) == 5


def test_weighting_shows_all_alike_and_lets_rare_grades_count_more(config, uneven):
    weighted = replace(config, balance="weighted", batch_size=1, max_repeat=100.0)
    assert _shown_by_grade(weighted, uneven) == pytest.approx([24, 6, 3, 2, 1])
    weights = grade_weights(uneven, weighted).numpy()
    assert weights * [24, 6, 3, 2, 1] == pytest.approx([36 / 5] * 5)
    assert grade_weights(uneven, config) is None


@pytest.mark.parametrize("balance", ["natural", "oversample", "camera"])
def test_epoch_decides_the_batches_and_nothing_else_does(config, uneven, balance):
    config = replace(config, balance=balance)
    one, same = (epoch_batches(config, uneven, 3) for _ in range(2))
    assert one == same
    assert one != epoch_batches(config, uneven, 4)
    assert {len(batch) for batch in one} == {config.batch_size}


def test_fewer_eyes_than_a_batch_holds_are_one_batch(config, uneven):
    (batch,) = epoch_batches(replace(config, batch_size=64), uneven, 0)
    assert sorted(batch) == list(range(len(uneven)))
