"""Maps and tokens share their memory, and layers that know "channels last" see it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from perception.models.token_layout import map_of, tokens_of


@pytest.mark.parametrize("batch", [1, 2])
def test_a_map_and_its_tokens_are_the_same_memory(batch: int):
    tokens = torch.randn(batch, 12, 5)
    plane = map_of(tokens, (3, 4))
    assert torch.equal(plane[:, :, 1, 2], tokens[:, 6])
    assert torch.equal(tokens_of(plane), tokens)
    assert plane.data_ptr() == tokens_of(plane).data_ptr() == tokens.data_ptr()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layer", [
    lambda x: F.avg_pool2d(x, 3, 1, 1), lambda x: F.conv2d(x, torch.ones(8, 1, 3, 3), padding=1, groups=8),
], ids=["pooling", "convolution"])
def test_what_a_layer_makes_of_tokens_are_tokens_without_a_copy(batch: int, layer):
    plane = map_of(torch.randn(batch, 12, 8), (3, 4))
    for _ in range(2):                                   # of tokens that came out of a map too
        plane = map_of(tokens_of(layer(plane)), (3, 4))
        assert plane.stride() == (96, 1, 32, 8)
