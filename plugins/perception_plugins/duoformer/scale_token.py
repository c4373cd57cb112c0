"""The token of each region that gathers what attention finds in its pixels (DuoFormer, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.conv_unit import ConvUnit
from perception.models.token_layout import tokens_of

TOKEN_STD = 0.036
NUM_UNITS = 4


class RandomScaleToken(nn.Module):
    """A learned vector, the same for all regions.

    Args:
        in_channels: widths of the four maps; not heeded.
        width: D.
    """

    needs_all_maps = False

    def __init__(self, in_channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.empty(1, 1, 1, width))
        trunc_normal_(self.token, std=TOKEN_STD)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps, of which the last has a pixel a region -> (B, R, 1, D)."""
        B, _, height, width = maps[-1].shape
        return self.token.expand(B, height * width, -1, -1)


class ChannelScaleToken(nn.Module):
    """A token computed from the channels of all four maps at the region.

    Args:
        in_channels: widths of the four maps.
        width: D.
    """

    needs_all_maps = True

    def __init__(self, in_channels: Sequence[int], width: int) -> None:
        super().__init__()
        first, second = in_channels[:2]
        self.level0 = nn.Sequential(_halving(first), _halving(first))
        self.level1 = _halving(second)
        widths = (sum(in_channels), *(width,) * NUM_UNITS)
        self.units = nn.Sequential(*(
            ConvUnit(nn.Conv2d(before, after, 3, padding=1), eps=1e-5, momentum=0.1)
            for before, after in pairwise(widths)
        ))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps, each twice as large as the next, the last with a pixel a region -> (B, R, 1, D)."""
        halved = [self.level0(maps[0]), self.level1(maps[1]), maps[2]]                     # (B, C_k, 2 R_h, 2 R_w) each
        joined = torch.cat([*(F.max_pool2d(x, 2) for x in halved), maps[3]], dim=1)
        return tokens_of(self.units(joined))[:, :, None]


def _halving(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride=2, padding=1)


SCALE_TOKENS: dict[str, type[RandomScaleToken] | type[ChannelScaleToken]] = {
    "random": RandomScaleToken, "channel": ChannelScaleToken
}
