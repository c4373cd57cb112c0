from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from perception.models.losses.ohem import ohem_cross_entropy, pixel_cross_entropy
from perception.structures.segmentation import IGNORE_LABEL


def logits_of(probabilities: list[float]) -> Tensor:
    """(1, 2, 1, N): class 0 has these probabilities."""
    first = torch.tensor(probabilities)
    return torch.stack([first, 1 - first]).log()[None, :, None]


def ohem_by_sorting(logits: Tensor, labels: Tensor, threshold: float, min_kept: int) -> Tensor:
    """The definition, pixel by pixel."""
    rows = [
        (F.softmax(logits[b, :, y, x], 0)[label], F.cross_entropy(logits[b, :, y, x], label))
        for b in range(len(labels)) for y in range(labels.shape[1]) for x in range(labels.shape[2])
        if (label := labels[b, y, x]) != IGNORE_LABEL
    ]
    if not rows:
        return logits.new_zeros(())
    ordered = sorted(float(probability) for probability, _ in rows)
    bound = max(threshold, ordered[min(min_kept, len(ordered) - 1)])
    kept = [loss for probability, loss in rows if float(probability) < bound]
    return torch.stack(kept).mean() if kept else logits.new_zeros(())


def test_pixels_below_the_threshold_are_kept():
    labels = torch.zeros(1, 1, 4, dtype=torch.int64)
    loss = ohem_cross_entropy(logits_of([0.2, 0.95, 0.5, 0.99]), labels, threshold=0.9, min_kept=1)
    torch.testing.assert_close(loss, torch.tensor(-(math.log(0.2) + math.log(0.5)) / 2))


def test_too_few_hard_pixels_raise_the_bound_to_the_next_ones_which_it_leaves_out():
    labels = torch.zeros(1, 1, 4, dtype=torch.int64)
    loss = ohem_cross_entropy(logits_of([0.2, 0.95, 0.5, 0.99]), labels, threshold=0.3, min_kept=2)
    torch.testing.assert_close(loss, torch.tensor(-(math.log(0.2) + math.log(0.5)) / 2))


def test_with_more_to_keep_than_there_are_the_easiest_pixel_alone_is_left_out():
    labels = torch.zeros(1, 1, 3, dtype=torch.int64)
    loss = ohem_cross_entropy(logits_of([0.95, 0.97, 0.99]), labels, threshold=0.9, min_kept=100)
    torch.testing.assert_close(loss, torch.tensor(-(math.log(0.95) + math.log(0.97)) / 2))


@given(
    seed=st.integers(0, 10_000), threshold=st.floats(0.05, 1.0), min_kept=st.integers(0, 40),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_it_equals_its_definition(seed, threshold, min_kept, ignored):
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 3, 3, 4, generator=draw, dtype=torch.float64)
    labels = torch.randint(3, (2, 3, 4), generator=draw)
    labels[torch.rand(labels.shape, generator=draw) < ignored] = IGNORE_LABEL
    expected = ohem_by_sorting(logits.float(), labels, threshold, min_kept)
    loss = ohem_cross_entropy(logits, labels, threshold=threshold, min_kept=min_kept)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)        # float32 means of up to 24 numbers


@pytest.mark.parametrize("valid", [0, 1])
def test_no_pixel_to_learn_from_gives_zero_with_a_graph(valid):
    labels = torch.full((1, 2, 2), IGNORE_LABEL)
    labels.view(-1)[:valid] = 0
    logits = (torch.zeros(1, 2, 2, 2) + torch.tensor([5.0, 0.0])[:, None, None]).requires_grad_()   # 0.993 for class 0
    loss = ohem_cross_entropy(logits, labels, threshold=0.9, min_kept=10)
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_class_weights_scale_the_loss_and_not_the_choice_of_pixels():
    logits, labels = logits_of([0.2, 0.6, 0.95]), torch.tensor([[[0, 1, 0]]])
    loss = ohem_cross_entropy(logits, labels, threshold=0.9, min_kept=0, class_weights=torch.tensor([0.5, 3.0]))
    torch.testing.assert_close(loss, torch.tensor(-(0.5 * math.log(0.2) + 3.0 * math.log(0.4)) / 2))


def test_ignored_pixels_have_no_cross_entropy():
    loss = pixel_cross_entropy(logits_of([0.2, 0.6]), torch.tensor([[[0, IGNORE_LABEL]]]), torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(loss, torch.tensor([[[-2 * math.log(0.2), 0.0]]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"threshold": 0.0}, r"threshold must lie in \(0, 1\], got 0.0"), ({"min_kept": -1}, "min_kept must be >= 0")],
)
def test_arguments_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ohem_cross_entropy(torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64), **options)
