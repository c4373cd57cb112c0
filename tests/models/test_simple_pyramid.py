"""The pyramid of a network that has one stride: shapes, gradients, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from perception.models.necks.simple_pyramid import SimplePyramid
from perception.registry import MODELS


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_levels_have_their_scale_of_the_map_rounded_up(size):
    neck = SimplePyramid((16,), 8)
    levels = neck([torch.rand(2, 16, *size)])
    assert neck.channels == (8, 8, 8, 8)
    assert [tuple(level.shape) for level in levels] == [
        (2, 8, *(-(-length * factor // 2) for length in size)) for factor in (8, 4, 2, 1)
    ]


def test_each_level_may_have_a_map_of_its_own():
    neck = SimplePyramid((16, 8), 4, scales=(2, 1)).eval()
    first, second, other = torch.rand(1, 16, 3, 3), torch.rand(1, 8, 3, 3), torch.rand(1, 8, 3, 3)
    before, after = neck([first, second]), neck([first, other])
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_the_gradient_reaches_every_parameter():
    neck = SimplePyramid((16,), 8)
    sum((level * torch.randn_like(level)).sum() for level in neck([torch.rand(2, 16, 4, 6)])).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in neck.parameters())


@pytest.mark.parametrize(("options", "message"), [
    ({"in_channels": (8,), "scales": (3,)}, r"scales must be of 4, 2, 1 and 0\.5, got \(3,\)"),
    ({"in_channels": (8, 8)}, "in_channels must be 1 or 4, one a scale, got 2"),
])
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SimplePyramid(**options)


def test_another_number_of_maps_is_refused():
    with pytest.raises(ValueError, match="maps must be 1, got 2"):
        SimplePyramid((8,), 8)([torch.rand(1, 8, 2, 2)] * 2)


def test_the_neck_is_registered():
    assert MODELS.roles["SimplePyramid"] == "neck"
