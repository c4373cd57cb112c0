"""Simplified linear attention: a ReLU kernel, and a depthwise convolution of the values (SLAB, section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import absorb
from perception.models.attention.heads import by_head, count_heads, together
from perception.models.autocast import without_autocast
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import checked_size, keep_real, map_of, tokens_of
from perception.registry import MODELS

EPS = 1e-6


class LinearAttentionCore(nn.Module):
    """What lies between the projections: linear attention among all tokens, and the convolution of the values.

    Args:
        channels: width C, divisible by ``heads``.
        heads: of the attention; all share the weights of the convolution.
        kernel: side of the convolution, odd.
        position: height and width of the map of keys that a table of positions is learned for, which is added to the
            keys; None has none.

    Raises:
        ValueError: the width is not divisible, or the kernel even.
    """

    def __init__(
        self, channels: int, heads: int, *, kernel: int = 5, position: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and >= 1, got {kernel}")
        self.heads, self.position_size = heads, None if position is None else (position[0], position[1])
        width = channels // heads
        self.dwc = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.position = None if position is None else nn.Parameter(torch.zeros(1, math.prod(position), channels))

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, size: tuple[int, int], mask: Tensor | None = None, *,
        key_size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Attend, and add the convolved values.

        Args:
            q: (B, N, C) queries.
            k, v: (B, M, C) keys and values.
            size: H, W of the map that the queries form. If M is not N, values are stretched to N in their row-major
                order for the convolution, as the authors' code does it.
            mask: (B, M) bool, False where there is no key; the map is 0 there.
            key_size: H, W of the map that the keys form; None is ``size``.

        Returns:
            (B, N, C); float32 under autocast, whose products would lose the small sums.
        """
        k = k if self.position is None else k + self._table(size if key_size is None else key_size)
        q, k, v = q.relu(), keep_real(k.relu(), mask), keep_real(v, mask).contiguous()
        mixed = linear_attention(*(by_head(x, self.heads) for x in (q, k, v)))                 # (B, heads, N, D)
        return together(mixed).add_(self._convolved(v, size))

    def _convolved(self, v: Tensor, size: tuple[int, int]) -> Tensor:
        places = size[0] * size[1]
        if v.shape[1] != places:
            v = F.interpolate(v.transpose(1, 2), places, mode="linear", align_corners=False).transpose(1, 2)
        weight, bias = self.dwc.weight.repeat(self.heads, 1, 1, 1), self.dwc.bias
        bias = None if bias is None else bias.repeat(self.heads)
        return tokens_of(F.conv2d(map_of(v, size), weight, bias, padding=self.dwc.padding, groups=v.shape[2]))

    def _table(self, size: tuple[int, int]) -> Tensor:
        assert self.position is not None
        assert self.position_size is not None
        if self.position_size == size:
            return self.position
        table = F.interpolate(map_of(self.position, self.position_size), size, mode="bilinear", align_corners=False)
        return tokens_of(table)


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Weights q_i k_j, normalised over j, of the values; in float32 at least, whatever autocast says.

    The products are taken in the order that has fewer of them: linear in N where N > D.

    Args:
        q: (B, heads, N, D), not negative.
        k: (B, heads, M, D), not negative.
        v: (B, heads, M, D).

    Returns:
        (B, heads, N, D).
    """
    N, M, D = q.shape[2], k.shape[2], q.shape[3]
    with without_autocast(q.device.type):
        q, k, v = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k, v))
        total = q @ k.sum(dim=2, keepdim=True).transpose(2, 3)                                 # (B, heads, N, 1)
        if N * M * 2 * D > D * D * (N + M):
            mixed = q @ (k.transpose(2, 3) @ v)
        else:
            mixed = (q @ k.transpose(2, 3)) @ v
        return mixed.div_(total + EPS)


def map_size(size: tuple[int, int] | None, x: Tensor, reader: str) -> tuple[int, int]:
    """The size of the map that tokens (B, N, C) form, a square if it is not given.

    Raises:
        ValueError: it is not given and N no square number, or it is that of other than N tokens.
    """
    side = math.isqrt(x.shape[1])
    if size is None and side * side == x.shape[1]:
        return side, side
    return checked_size(size, x, reader)


@MODELS.register_module(role="token_mixer")
class SimplifiedLinearAttention(nn.Module):
    """Linear attention among all tokens of a map; its cost is linear in them.

    Args:
        channels: width C of the tokens.
        heads: of the attention; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        kernel: side of the convolution of the values.
        position: height and width of the map that positions are learned for, resized for maps of another size; None
            learns none.
        qkv_bias: the projections to queries, keys and values have a bias.

    Raises:
        ValueError: the width is not divisible, or the kernel even.
    """

    TRAITS = MixerTraits(cost="N")

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, kernel: int = 5,
        position: tuple[int, int] | None = None, qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.core = LinearAttentionCore(
            channels, count_heads(channels, heads, head_channels), kernel=kernel, position=position
        )
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        Without a ``size`` the tokens form a square map, as in the authors' code, which knows no other.

        Raises:
            ValueError: there is no size and N is no square number, or it is that of other than N tokens.
        """
        size = map_size(size, x, "SimplifiedLinearAttention")
        q, k, v = self.qkv(x).chunk(3, dim=2)
        return keep_real(self.proj(self.core(q, k, v, size, mask)), mask)

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        absorb(self.qkv, scale, shift)
