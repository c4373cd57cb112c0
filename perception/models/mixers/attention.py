"""Softmax attention among all tokens: what the cheaper mixers are compared with."""

from __future__ import annotations

from torch import Tensor

from perception.compression.batch_norm import absorb
from perception.registry import MODELS

from ..attention.packed import PackedAttention
from ..token_layout import keep_real


@MODELS.register_module(role="token_mixer")
class AttentionMixer(PackedAttention):
    """Multi-head self-attention ("Attention Is All You Need", Vaswani et al., NeurIPS 2017).

    Args:
        channels: width C of the tokens.
        heads: attention heads; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        qkv_bias: the projections to queries, keys and values have a bias.
        dropout: share of the attention weights that are dropped in training.

    Raises:
        ValueError: ``channels`` is not divisible by ``heads`` or ``head_channels``.
    """

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, qkv_bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        if heads is None and channels % head_channels:
            raise ValueError(f"channels ({channels}) must be divisible by head_channels ({head_channels})")
        heads = channels // head_channels if heads is None else heads
        super().__init__(channels, heads=heads, dropout=dropout, qkv_bias=qkv_bias)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        ``size`` is not needed: attention knows no places.
        """
        query, key, value = self.project(x)                                                # (B, heads, N, D) each
        return keep_real(self.mix(query, key, value, None if mask is None else seen_keys(mask)), mask)

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        absorb(self.in_proj, scale, shift)


def seen_keys(mask: Tensor) -> Tensor:
    """The keys (B, 1, 1, N) that queries see; all of them where there is no real token, since none gives NaN."""
    return (mask | ~mask.any(dim=1, keepdim=True))[:, None, None]
