"""Attention whose queries are its keys, by a softmax, or by the agreement of learned binary codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.autocast import without_autocast
from perception.models.mixers.attention import seen_keys
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .hash_learning import real_rows
from .kernel_hash import KernelHash


@MODELS.register_module(role="token_mixer")
class SharedAttention(nn.Module):
    """Softmax attention whose queries are its keys.

    Args:
        channels: width C of the tokens.
        heads: attention heads; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        qkv_bias: the projections to queries and to values have a bias.

    Raises:
        ValueError: ``channels`` is not divisible by ``heads`` or ``head_channels``.
    """

    TRAITS = MixerTraits(cost="N^2")

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, qkv_bias: bool = True
    ) -> None:
        super().__init__()
        if heads is None and channels % head_channels:
            raise ValueError(f"channels ({channels}) must be divisible by head_channels ({head_channels})")
        self.channels, self.heads = channels, channels // head_channels if heads is None else heads
        if channels % self.heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
        self.to_qk = nn.Linear(channels, channels, bias=qkv_bias)
        self.to_v = nn.Linear(channels, channels, bias=qkv_bias)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        ``size`` is not needed: attention knows no places.
        """
        x = keep_real(x, mask)
        qk, v = (to(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for to in (self.to_qk, self.to_v))
        mixed = self.mix(qk, v, mask)                                                      # (B, heads, N, D)
        return keep_real(self.out_proj(mixed.transpose(1, 2).flatten(2)), mask)

    def mix(self, qk: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """(B, heads, N, D) each -> (B, heads, N, D)."""
        return F.scaled_dot_product_attention(qk, qk, v, attn_mask=None if mask is None else seen_keys(mask))


@MODELS.register_module(role="token_mixer")
class HashAttention(SharedAttention):
    """Attention by the agreement of binary codes, in time and memory linear in the number of tokens.

    "EcoFormer: Energy-Saving Attention with Linear Complexity" (Liu et al., NeurIPS 2022). The codes come from hash
    functions that learn from the first batch in training, see `KernelHash`. Computed in float32.

    Args:
        channels, heads, head_channels, qkv_bias: see `SharedAttention`.
        bits, anchors, learning: see `KernelHash`.
        exact_offset: the offset of the kernel weighs the values of all tokens, as in the paper; else the token's own
            value alone, as the released networks were trained.

    Raises:
        ValueError: as `SharedAttention` and `KernelHash` do.
    """

    TRAITS = MixerTraits(cost="N")

    def __init__(
        self,
        channels: int,
        *,
        heads: int | None = None,
        head_channels: int = 32,
        qkv_bias: bool = True,
        bits: int = 16,
        anchors: int = 25,
        learning: Mapping[str, Any] | None = None,
        exact_offset: bool = False,
    ) -> None:
        super().__init__(channels, heads=heads, head_channels=head_channels, qkv_bias=qkv_bias)
        self.exact_offset = exact_offset
        self.hash = KernelHash(self.heads, channels // self.heads, bits=bits, anchors=anchors, learning=learning)

    def mix(self, qk: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """(B, heads, N, D) each -> (B, heads, N, D)."""
        with without_autocast(qk.device.type):
            codes = self.hash(qk.float(), mask)
            return agreement_attention(codes, v.float(), mask, exact_offset=self.exact_offset).to(v.dtype)


def agreement_attention(
    codes: Tensor, values: Tensor, mask: Tensor | None = None, *, exact_offset: bool = False
) -> Tensor:
    """Values weighed by how many bits agree: by b_i . b_j + beta over the sum of these, with beta = bits + 1.

    Args:
        codes: (B, heads, N, bits) of -1, 0 and 1.
        values: (B, heads, N, D).
        mask: (B, N) bool, False where a token is not looked at.
        exact_offset: see `HashAttention`.

    Returns:
        (B, heads, N, D).
    """
    offset = codes.shape[3] + 1
    count: int | Tensor = codes.shape[2]
    if mask is not None:
        real = real_rows(mask, codes)[..., None]                                           # (B, 1, N, 1)
        codes, values, count = codes * real, values * real, real.sum(dim=2, keepdim=True).clamp(min=1)
    context = codes.transpose(2, 3) @ values                                               # (B, heads, bits, D)
    own = values.sum(dim=2, keepdim=True) if exact_offset else values
    weights = codes @ codes.sum(dim=2)[..., None] + count * offset                         # (B, heads, N, 1)
    return (codes @ context + offset * own) / weights
