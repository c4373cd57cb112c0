from __future__ import annotations

import pytest
import torch

from perception.models.necks.fpn import FPN


def identity_fpn(**options) -> FPN:
    """One channel, laterals of weight 1 and outputs that keep the middle, so that the sums can be read off."""
    neck = FPN((1, 1, 1), 1, **options)
    for module in neck.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.dirac_(module.weight)
    return neck


def test_coarse_maps_are_added_to_the_finer_ones():
    maps = [torch.full((1, 1, size, size), value) for size, value in ((4, 1.0), (2, 10.0), (1, 100.0))]
    levels = identity_fpn()(maps)
    assert [level.unique().tolist() for level in levels] == [[111.0], [110.0], [100.0]]


def test_odd_sizes_are_met_by_the_nearest_cell():
    maps = [torch.zeros(1, 1, 1, 5), torch.tensor([[[[1.0, 2.0, 3.0]]]]), torch.zeros(1, 1, 1, 2)]
    assert identity_fpn()(maps)[0].flatten().tolist() == [1.0, 1.0, 2.0, 2.0, 3.0]


@pytest.mark.parametrize(("relu", "expected"), [(False, -4.0), (True, 0.0)])
def test_extra_levels_halve_the_last_output_and_only_later_ones_may_rectify(relu, expected):
    maps = [torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), -4.0)]
    levels = identity_fpn(extra_levels=2, relu_before_extra=relu)(maps)
    assert [tuple(level.shape[2:]) for level in levels[3:]] == [(2, 2), (1, 1)]
    assert levels[3].unique().item() == -4.0
    assert levels[4].item() == expected


@pytest.mark.parametrize(
    ("widths", "channels", "options", "count"),
    [
        ((256, 512, 1024, 2048), 128, {"norm": True}, 1_083_392),        # VectorMapNet
        ((512, 1024, 2048), 256, {"extra_levels": 1}, 3_278_592),        # LaneSegNet
    ],
)
def test_published_pyramids_have_their_number_of_parameters(widths, channels, options, count):
    neck = FPN(widths, channels, **options)
    assert sum(parameter.numel() for parameter in neck.parameters()) == count
    assert neck.channels == (channels,) * 4


def test_maps_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="maps must be 3, got 2"):
        FPN((4, 4, 4), 8)([torch.zeros(1, 4, 4, 4)] * 2)


@pytest.mark.parametrize(("widths", "extra_levels"), [((), 0), ((4,), -1)])
def test_a_pyramid_without_maps_or_with_fewer_than_no_levels_is_refused(widths, extra_levels):
    with pytest.raises(ValueError, match="in_channels must not be empty and extra_levels >= 0"):
        FPN(widths, 8, extra_levels=extra_levels)
