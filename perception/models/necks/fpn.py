"""Feature pyramid: coarse maps are brought into the finer ones from above.

"Feature Pyramid Networks for Object Detection" (Lin et al., CVPR 2017), section 3.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.conv_unit import ConvUnit
from perception.registry import MODELS


@MODELS.register_module(role="neck")
class FPN(nn.Module):
    """1x1 laterals, sums from the top down with nearest upsampling, 3x3 outputs, coarser levels by stride 2.

    Args:
        in_channels: widths of the maps, finest first.
        channels: width of every level.
        extra_levels: coarser levels, each a 3x3 convolution of stride 2 over the level before.
        relu_before_extra: a ReLU stands before each extra level but the first.
        norm: batch normalisation after each convolution, which then has no bias; there is no activation.

    Raises:
        ValueError: there is no map, or ``extra_levels`` is negative.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        *,
        extra_levels: int = 0,
        relu_before_extra: bool = False,
        norm: bool = False,
    ) -> None:
        super().__init__()
        if not in_channels or extra_levels < 0:
            raise ValueError(f"in_channels must not be empty and extra_levels >= 0, got {in_channels}, {extra_levels}")
        self.num_maps, self.relu_before_extra = len(in_channels), relu_before_extra
        self.channels = (channels,) * (len(in_channels) + extra_levels)
        self.laterals = nn.ModuleList(_unit(width, channels, 1, norm=norm) for width in in_channels)
        strides = [1] * len(in_channels) + [2] * extra_levels
        self.outputs = nn.ModuleList(_unit(channels, channels, 3, stride=stride, norm=norm) for stride in strides)
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier weights, no bias."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (B, C_i, H_i, W_i), finest first -> levels (B, channels, H_i, W_i), then the extra ones."""
        if len(maps) != self.num_maps:
            raise ValueError(f"maps must be {self.num_maps}, got {len(maps)}")
        levels = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for fine in range(len(levels) - 2, -1, -1):
            coarse = F.interpolate(levels[fine + 1], size=levels[fine].shape[2:], mode="nearest")
            levels[fine] = levels[fine] + coarse
        outputs = [output(x) for output, x in zip(self.outputs, levels, strict=False)]
        for number, extra in enumerate(self.outputs[self.num_maps :]):
            x = outputs[-1]
            outputs.append(extra(x.relu() if number and self.relu_before_extra else x))
        return tuple(outputs)


def _unit(in_channels: int, channels: int, size: int, *, stride: int = 1, norm: bool) -> nn.Module:
    conv = nn.Conv2d(in_channels, channels, size, stride=stride, padding=size // 2, bias=not norm)
    if norm:
        return ConvUnit(conv, eps=1e-5, momentum=0.1, activation=False)
    return nn.Sequential(OrderedDict(conv=conv))
