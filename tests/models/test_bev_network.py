from __future__ import annotations

import pytest
import torch

from perception.models.bev_backbones.second import SECOND
from perception.models.conv_unit import ConvUnit, conv3x3
from perception.models.necks.bev_network import BEVNetwork
from perception.models.necks.second_fpn import SECONDFPN


def test_stages_have_the_widths_and_strides_they_say():
    net = SECOND(6, (8, 16, 24), (1, 0, 2), (1, 2, 2))
    maps = net(torch.rand(2, 6, 16, 24))
    assert [m.shape[1] for m in maps] == list(net.channels)
    assert [16 // m.shape[2] for m in maps] == list(net.strides) == [1, 2, 4]


def test_only_units_that_keep_the_shape_are_residual():
    net = SECOND(8, (8, 8, 16), (1, 1, 1), (1, 2, 1), residual=True)
    assert [[unit.residual for unit in stage] for stage in net.stages] == [[True, True], [False, True], [False, True]]


def test_the_skip_is_added_after_the_activation():
    unit = ConvUnit(conv3x3(1, 1), residual=True).eval()
    torch.nn.init.zeros_(unit.conv.weight)
    assert unit(torch.full((1, 1, 2, 2), -3.0)).tolist() == [[[[-3.0, -3.0], [-3.0, -3.0]]]]


@pytest.mark.parametrize(
    ("factor", "conv", "size"), [(0.5, "Conv2d", 2), (1, "ConvTranspose2d", 1), (2, "ConvTranspose2d", 2)]
)
def test_a_factor_chooses_the_convolution(factor, conv, size):
    built = SECONDFPN((4,), (6,), (factor,)).stages[0].conv
    assert (type(built).__name__, built.kernel_size, built.stride) == (conv, (size, size), (size, size))


def test_a_factor_of_one_may_be_a_plain_convolution():
    assert isinstance(SECONDFPN((4,), (6,), (1,), conv_for_no_stride=True).stages[0].conv, torch.nn.Conv2d)


def test_a_neck_joins_all_stages_at_one_size():
    neck = SECONDFPN((4, 8), (5, 6), (1, 2))
    joined = neck((torch.rand(1, 4, 8, 12), torch.rand(1, 8, 4, 6)))
    assert joined.shape == (1, 11, 8, 12)
    assert neck.channels == 11


def test_a_canvas_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="must be divisible by all strides"):
        SECONDFPN((4, 8), (5, 6), (1, 2))((torch.rand(1, 4, 7, 12), torch.rand(1, 8, 4, 6)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SECOND(4, (8,), (1, 2), (1,)), "channels, layers and strides must be as many"),
        (lambda: SECONDFPN((4, 8), (4,), (1, 2)), "in_channels, channels and upsample must be as many"),
        (lambda: SECONDFPN((4,), (4,), (0,)), "upsample factors must be positive"),
    ],
)
def test_lists_that_do_not_fit_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_backbone_and_its_neck_serve_as_the_neck_of_another_encoder():
    backbone = {"type": "SECOND", "in_channels": 4, "channels": (4, 8), "layers": (0, 0), "strides": (2, 2)}
    neck = {"type": "SECONDFPN", "in_channels": (4, 8), "channels": (3, 3), "upsample": (0.5, 1)}
    assert BEVNetwork(backbone, neck)(torch.rand(2, 4, 16, 8)).shape == (2, 6, 4, 2)
