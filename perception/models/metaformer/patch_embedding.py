"""What turns a picture, or the map of one stage, into the tokens of the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import fold_into_previous
from perception.registry import MODELS

from ..token_layout import map_of, tokens_of
from .norm import token_norm


@MODELS.register_module()
class PatchEmbedding(nn.Module):
    """A strided convolution with a bias; windows overlap where the kernel is larger than the stride.

    Args:
        in_channels: width of the map, 3 of a picture.
        channels: width of the tokens.
        kernel: side of a window.
        stride: between windows.
        padding: zeros at each border.
        norm, norm_eps: of the tokens, see `token_norm`.
    """

    def __init__(
        self, in_channels: int, channels: int, *, kernel: int = 3, stride: int = 2, padding: int = 1,
        norm: str | Mapping[str, Any] | None = None, norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.proj = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=padding)
        self.norm = token_norm(norm, channels, norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, h, w)."""
        x = self.proj(x)
        return map_of(self.norm(tokens_of(x)), (x.shape[2], x.shape[3]))

    def fold_batch_norm(self) -> None:
        """Give a norm of channels to the convolution."""
        fold_into_previous(self, "norm", self.proj)


class PositionMap(nn.Module):
    """A learned number for each channel at each place, added to tokens; resized for maps of another size.

    Args:
        channels: width C of the tokens.
        size: height and width of the map that it is learned for.
        mode: of the resize, as `torch.nn.functional.interpolate` names it.
    """

    def __init__(self, channels: int, size: tuple[int, int], mode: str = "bicubic") -> None:
        super().__init__()
        self.mode = mode
        self.table = nn.Parameter(torch.empty(1, channels, *size))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, H * W, C) tokens of a map of H, W -> (B, H * W, C)."""
        table: Tensor = self.table
        if table.shape[2:] != size:
            table = F.interpolate(table, size, mode=self.mode, align_corners=False)
        return tokens + tokens_of(table)
