"""The unit of the head: a convolution over pixels or queries, batch normalisation and a GELU."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval


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
        self.conv: nn.Conv1d | nn.Conv2d = (nn.Conv2d if dims == 2 else nn.Conv1d)(
            in_channels, channels, kernel, padding=dilation * (kernel // 2), groups=groups, dilation=dilation, bias=bias
        )
        norm = batch_norm(channels, dims)
        self.norm: nn.Module = norm
        self.activation = activation
        if groups > 1:
            nn.init.xavier_uniform_(self.conv.weight)
        else:
            truncated_normal(self.conv.weight, math.sqrt(2 / in_channels) if std is None else std)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        nn.init.constant_(norm.weight, norm_weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) or (B, C_in, N) -> the same size with the output's width."""
        x = self.norm(self.conv(x))
        return F.gelu(x) if self.activation else x

    def fold_batch_norm(self) -> None:
        """Give the normalisation's scale and shift to the convolution; for evaluation only."""
        if isinstance(self.norm, _BatchNorm):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


def batch_norm(channels: int, dims: int = 2) -> _BatchNorm:
    """Batch normalisation as all of the head has it, over pixels or, with ``dims`` 1, a sequence."""
    return (nn.BatchNorm2d if dims == 2 else nn.BatchNorm1d)(channels, eps=1e-3, momentum=0.01)


def classifier(in_channels: int, num_outputs: int, std: float, dims: int = 2) -> nn.Conv1d | nn.Conv2d:
    """A 1x1 convolution whose first weights have the standard deviation ``std``, and whose biases are 0."""
    conv = (nn.Conv2d if dims == 2 else nn.Conv1d)(in_channels, num_outputs, 1)
    truncated_normal(conv.weight, std)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def truncated_normal(tensor: Tensor, std: float) -> None:
    """Draw a normal distribution that is cut at two standard deviations."""
    nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)
