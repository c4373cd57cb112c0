"""The Lovász-Softmax loss is the Jaccard loss where predictions are sure, and extends it between."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.models.losses.lovasz import LovaszSoftmaxLoss, jaccard_steps, lovasz_hinge_sums
from perception.structures.segmentation import IGNORE_LABEL

SURE = 60.0                                           # a logit whose softmax is 0 or 1 in float32


def mean_jaccard_loss(predicted: torch.Tensor, target: torch.Tensor) -> float:
    """1 - IoU, averaged over the classes that truly occur."""
    losses = []
    for label in target.unique():
        truth, found = target == label, predicted == label
        losses.append(1 - ((truth & found).sum() / (truth | found).sum()).item())
    return sum(losses) / len(losses)


def test_steps_worked_by_hand():
    # true, false, true by falling error: IoU 1 -> 1/2 (one of two missed) -> 1/3 (and one too many) -> 0
    torch.testing.assert_close(jaccard_steps(torch.tensor([[1, 0, 1]])), torch.tensor([[1 / 2, 1 / 6, 1 / 3]]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_sure_predictions_give_one_minus_the_iou(rows):
    predicted, target = torch.tensor(rows).unbind(1)
    logits = torch.nn.functional.one_hot(predicted, 4) * SURE
    expected = mean_jaccard_loss(predicted, target)
    assert LovaszSoftmaxLoss()(logits, target).item() == pytest.approx(expected, abs=1e-5)


def test_gradients_are_those_of_finite_differences():
    draw = torch.Generator().manual_seed(0)
    scores = torch.rand(3, 12, generator=draw, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (12,), generator=draw)
    is_class = torch.nn.functional.one_hot(target, 3).T
    assert torch.autograd.gradcheck(lambda values: lovasz_hinge_sums(values, is_class), scores)


def test_ignored_rows_change_nothing():
    draw = torch.Generator().manual_seed(1)
    logits, target = torch.randn(20, 4, generator=draw), torch.randint(0, 4, (20,), generator=draw)
    both = torch.cat([logits, torch.randn(5, 4, generator=draw)]), torch.cat([target, torch.full((5,), IGNORE_LABEL)])
    torch.testing.assert_close(LovaszSoftmaxLoss()(*both), LovaszSoftmaxLoss()(logits, target))


@pytest.mark.parametrize("rows", [0, 3])
def test_without_a_known_row_the_loss_is_zero_and_has_a_gradient(rows):
    logits = torch.randn(rows, 4, requires_grad=True)
    loss = LovaszSoftmaxLoss()(logits, torch.full((rows,), IGNORE_LABEL))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


def test_the_weight_is_a_factor():
    logits, target = torch.randn(9, 3), torch.arange(9) % 3
    doubled = LovaszSoftmaxLoss(loss_weight=2.0)(logits, target)
    torch.testing.assert_close(doubled, 2 * LovaszSoftmaxLoss()(logits, target))
