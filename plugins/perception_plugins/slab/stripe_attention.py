"""Attention within stripes of a map, as in CSWin ("CSWin Transformer", Dong et al., CVPR 2022), softmax or linear."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import absorb
from perception.models.attention.heads import by_head, count_heads, together
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import checked_size, keep_real, map_of, tokens_of
from perception.registry import MODELS

from .linear_attention import LinearAttentionCore
from .windows import cut_windows, join_windows, key_bias, pad_to_windows


class StripeBranch(nn.Module):
    """Attention within full-height or full-width stripes, or within the whole map, and a convolution of the values.

    Args:
        channels: width C of the branch.
        heads: of the attention.
        split: width of vertical and height of horizontal stripes; None takes the whole map.
        vertical: direction of the stripes.

    Raises:
        ValueError: the width is not divisible by ``heads``, or ``split`` below 1.
    """

    def __init__(self, channels: int, heads: int, *, split: int | None = None, vertical: bool = True) -> None:
        super().__init__()
        if split is not None and split < 1:
            raise ValueError(f"split must be >= 1, got {split}")
        self.heads, self.split, self.vertical = count_heads(channels, heads, channels), split, vertical
        self.get_v = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def window(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a stripe of a map of H, W."""
        if self.split is None:
            return size
        return (size[0], self.split) if self.vertical else (self.split, size[1])

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, size: tuple[int, int], mask: Tensor | None = None
    ) -> Tensor:
        """Queries, keys and values (B, N, C) of a map of H, W -> (B, N, C); keys where ``mask`` is False don't count.

        The last stripe is smaller where stripes do not fill the map.
        """
        window = self.window(size)
        padded = (size[0] + -size[0] % window[0], size[1] + -size[1] % window[1])
        real = None
        if mask is not None or padded != size:
            mask = q.new_ones(q.shape[:2], dtype=torch.bool) if mask is None else mask
            real = self._cut(mask[..., None], size, window)[..., 0]                            # (B * L, S)
        q, k, v = (self._cut(x, size, window) for x in (q, k, v))                              # (B * L, S, C) each
        v = keep_real(v, real)
        mixed = self.mix(q, k, v, window, real) + tokens_of(self.get_v(map_of(v, window)))
        stripes = padded[0] // window[0] * (padded[1] // window[1])
        joined = join_windows(mixed.unflatten(0, (-1, stripes)), window, padded)               # (B, H', W', C)
        return joined[:, : size[0], : size[1]].flatten(1, 2)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, window: tuple[int, int], real: Tensor | None) -> Tensor:
        """Attend within stripes (B * L, S, C) whose keys are where ``real`` (B * L, S) is not False."""
        q, k, v = (by_head(x, self.heads) for x in (q, k, v))                                # (B * L, heads, S, D) each
        bias = None if real is None else key_bias(real, q.dtype)[:, None]                      # (B * L, 1, 1, S)
        return together(F.scaled_dot_product_attention(q, k, v, attn_mask=bias))

    def _cut(self, x: Tensor, size: tuple[int, int], window: tuple[int, int]) -> Tensor:
        return cut_windows(pad_to_windows(x.unflatten(1, size), window), window).flatten(0, 1)


class LinearStripeBranch(StripeBranch):
    """The same with simplified linear attention.

    Args:
        channels, heads, split, vertical: see `StripeBranch`.
        resolution: height and width of the map that positions are learned for; None learns none.
        kernel: side of the convolution of the values.
    """

    def __init__(
        self, channels: int, heads: int, *, split: int | None = None, vertical: bool = True,
        resolution: tuple[int, int] | None = None, kernel: int = 5,
    ) -> None:
        super().__init__(channels, heads, split=split, vertical=vertical)
        position = None if resolution is None else self.window(resolution)
        self.core = LinearAttentionCore(channels, heads, kernel=kernel, position=position)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, window: tuple[int, int], real: Tensor | None) -> Tensor:
        """See `StripeBranch.mix`."""
        return self.core(q, k, v, window, real)


@MODELS.register_module(role="token_mixer")
class SlabStripeAttention(nn.Module):
    """Half of the channels within vertical stripes and half within horizontal ones, or all within the whole map.

    Args:
        channels: width C of the tokens.
        heads: of the attention, an even number with stripes; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        split: width of vertical and height of horizontal stripes; None takes the whole map.
        linear: simplified linear attention instead of softmax.
        resolution: height and width of the map that linear attention learns positions for; None learns none.
        kernel: side of the convolution of linear attention's values.
        qkv_bias: the projections to queries, keys and values have a bias.

    Raises:
        ValueError: the width is not divisible, or heads or channels can't be halved.
    """

    TRAITS = MixerTraits(cost="N")                      # softmax: N^1.5 in stripes, else N^2

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, split: int | None = None,
        linear: bool = True, resolution: tuple[int, int] | None = None, kernel: int = 5, qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        heads, branches = count_heads(channels, heads, head_channels), 1 if split is None else 2
        if heads % branches:
            raise ValueError(f"heads must be even for stripes of two directions, got {heads}")
        own: dict[str, Any] = {"resolution": resolution, "kernel": kernel} if linear else {}
        branch = LinearStripeBranch if linear else StripeBranch
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.attns = nn.ModuleList(
            branch(channels // branches, heads // branches, split=split, vertical=number == 0, **own)
            for number in range(branches)
        )
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C); where ``mask`` (B, N) is False they don't count and become 0.

        Raises:
            ValueError: there is no ``size``, or it is that of other than N tokens.
        """
        size = checked_size(size, x, "SlabStripeAttention")
        q, k, v = (part.chunk(len(self.attns), dim=2) for part in self.qkv(x).chunk(3, dim=2))
        mixed = [branch(*parts, size, mask) for branch, *parts in zip(self.attns, q, k, v, strict=True)]
        return keep_real(self.proj(torch.cat(mixed, dim=2)), mask)

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        absorb(self.qkv, scale, shift)
