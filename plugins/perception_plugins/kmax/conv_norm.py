"""The unit of the head: a convolution over pixels or queries, batch normalisation and a GELU."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

NORM = {"eps": 1e-3, "momentum": 0.01}


class ConvNorm(nn.Module):
    """A convolution that keeps the size, batch normalisation and a GELU that can be left out.

    Args:
        in_channels: width of the input.
        channels: width of the output.
        kernel: side of the kernel, odd.
        dims: 2 over pixels (B, C, H, W), 1 over a sequence (B, C, N).
        groups: of the convolution; if as many as channels, its start is Xavier's.
        dilation: of the convolution.
        bias: of the convolution, beside that of the normalisation.
        activation: whether there is a GELU, in its exact form.
        std: standard deviation of the first weights; None takes (2 / in_channels) ** 0.5.
        norm_weight: first scale of the normalisation.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 1,
        *,
        dims: int = 2,
        groups: int = 1,
        dilation: int = 1,
        bias: bool = False,
        activation: bool = True,
        std: float | None = None,
        norm_weight: float = 1.0,
    ) -> None:
        super().__init__()
        conv_type, norm_type = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv1d, nn.BatchNorm1d)
        padding = dilation * (kernel // 2)
        self.conv = conv_type(
            in_channels, channels, kernel, padding=padding, groups=groups, dilation=dilation, bias=bias
        )
        self.norm: nn.Module = norm_type(channels, **NORM)
        self.activation = activation
        if groups > 1:
            nn.init.xavier_uniform_(self.conv.weight)
        else:
            truncated_normal(self.conv.weight, math.sqrt(2 / in_channels) if std is None else std)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        nn.init.constant_(self.norm.weight, norm_weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) or (B, C_in, N) -> the same size with the output's width."""
        x = self.norm(self.conv(x))
        return F.gelu(x) if self.activation else x

    def fold_batch_norm(self) -> None:
        """Give the normalisation's scale and shift to the convolution; for evaluation only."""
        if not isinstance(self.norm, nn.Identity):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


def truncated_normal(tensor: Tensor, std: float) -> None:
    """Draw a normal distribution that is cut at two standard deviations."""
    nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)
