"""Products of probabilities down the tree, and means over crops."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.models.geo_inference import GeoLogits, chained_log_probabilities, entropy_of


def test_the_product_worked_by_hand():
    coarse, fine = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.5, 0.3, 0.2]]).log()
    first, second = chained_log_probabilities([coarse, fine], [torch.tensor([1, 0, 0])])
    torch.testing.assert_close(first.exp(), torch.tensor([[0.8, 0.2]]))
    torch.testing.assert_close(second.exp(), torch.tensor([[0.1, 0.24, 0.16]]))


def test_an_orphans_parent_has_probability_one():
    coarse, fine = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.5, 0.5]]).log()
    found = chained_log_probabilities([coarse, fine], [torch.tensor([-1, 1])])[-1]
    torch.testing.assert_close(found.exp(), torch.tensor([[0.5, 0.1]]))


@given(seed=st.integers(0, 10**6), depth=st.integers(1, 4))
def test_chains_are_the_products_of_their_probabilities(seed, depth):
    draw = torch.Generator().manual_seed(seed)
    sizes = [3 * 2**number for number in range(depth)]
    logits = [torch.randn(2, size, generator=draw, dtype=torch.float64) for size in sizes]
    parents = [torch.randint(above, (size,), generator=draw) for above, size in pairwise(sizes)]
    product = logits[0].softmax(dim=1)
    for values, parent in zip(logits[1:], parents, strict=True):
        product = values.softmax(dim=1) * product[:, parent]
    found = chained_log_probabilities(logits, parents)[-1]
    torch.testing.assert_close(found.exp().double(), product, atol=0, rtol=1e-4)          # float32 logarithms


def test_logits_of_half_precision_do_not_vanish():
    logits = [torch.zeros(1, 20_000, dtype=torch.bfloat16) for _ in range(7)]
    found = chained_log_probabilities(logits, [torch.zeros(20_000, dtype=torch.int64)] * 6)[-1]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0, 0], torch.tensor(-7 * math.log(20_000)))


@pytest.mark.parametrize("parents", [[], [torch.zeros(3, dtype=torch.int64)], [torch.zeros(4, dtype=torch.int64)] * 2])
def test_maps_of_another_size_are_refused(parents):
    with pytest.raises(ValueError, match=r"parents must be maps of \[4\] classes, got"):
        chained_log_probabilities([torch.zeros(1, 2), torch.zeros(1, 4)], parents)


def test_entropy_of_shares():
    weights = torch.tensor([[0.2, 0.2], [0.5, 0.0], [0.9, 0.1]]).log()
    expected = torch.tensor([math.log(2), 0.0, -0.9 * math.log(0.9) - 0.1 * math.log(0.1)])
    torch.testing.assert_close(entropy_of(weights), expected)


def test_logits_are_averaged_over_the_crops_of_each_picture():
    logits, scenes = torch.arange(8.0).view(4, 2), torch.tensor([[0.0, 3.0], [4.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    raw = GeoLogits((logits,), scenes, scenes.argmax(dim=1), torch.zeros(4, 1, 3)).averaged(2)
    assert torch.equal(raw.hierarchies[0], torch.tensor([[1.0, 2.0], [5.0, 6.0]]))
    assert raw.scene.tolist() == [0, 1]
    assert raw.selected.shape == (2, 1, 3)
    assert torch.equal(raw.confidence(), torch.full((2, 1), 0.5))
