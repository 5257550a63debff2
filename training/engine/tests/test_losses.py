import numpy as np
import pytest
import torch

from inference.engine.head import ordered_logits
from training.engine.losses import (
    cumulative_targets,
    grade_error,
    ordered,
    ordinal_loss,
    taught_targets,
)


def test_training_orders_scores_as_serving_does():
    scores = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    assert np.array_equal(ordered(scores).numpy(), ordered_logits(scores.numpy()))


def test_targets_count_the_thresholds_passed():
    targets = cumulative_targets(torch.tensor([0, 2, 4]))
    assert targets.tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]


def test_threshold_without_weight_does_not_count():
    scores = torch.zeros(1, 4)
    targets = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    weights = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    wild = torch.tensor([[0.0, 0.0, -50.0, -50.0]])
    assert ordinal_loss(wild, targets, weights) == ordinal_loss(scores, targets, weights)


def test_loss_is_least_at_the_right_grade():
    targets = cumulative_targets(torch.tensor([2]))
    weights = torch.ones(1, 4)
    right = torch.tensor([[4.0, 4.0, -4.0, -4.0]])
    near = torch.tensor([[4.0, -4.0, -4.0, -4.0]])
    far = torch.tensor([[-4.0, -4.0, -4.0, -4.0]])
    losses = [float(ordinal_loss(scores, targets, weights)) for scores in (right, near, far)]
    assert losses == sorted(losses)
    assert losses[0] < losses[1]


def test_grade_error_counts_the_squared_distance_in_grades():
    targets = cumulative_targets(torch.tensor([0, 3]))
    sure = torch.tensor([[-30.0] * 4, [30.0, -30.0, -30.0, -30.0]])
    assert float(grade_error(sure, targets, torch.ones(2, 4))) == pytest.approx((0 + 4) / 2)
    silent_above = torch.tensor([[1.0] * 4, [1.0, 1.0, 0.0, 0.0]])
    assert float(grade_error(sure, targets, silent_above)) == pytest.approx((0 + 1) / 2)


def test_teacher_moves_targets_by_its_share():
    targets, taught = torch.zeros(1, 4), torch.full((1, 4), 0.8)
    assert taught_targets(targets, taught, 0.25).tolist() == [pytest.approx([0.2] * 4)]
