"""Softmax attention among all tokens: what the cheaper mixers are compared with."""

from __future__ import annotations

from torch import Tensor

from perception.compression.batch_norm import absorb
from perception.registry import MODELS

from ..attention.causal import earlier_keys
from ..attention.heads import count_heads
from ..attention.packed import PackedAttention
from ..token_layout import keep_real
from .traits import MixerTraits


@MODELS.register_module(role="token_mixer")
class AttentionMixer(PackedAttention):
    """Multi-head self-attention ("Attention Is All You Need", Vaswani et al., NeurIPS 2017).

    Args:
        channels: width C of the tokens.
        heads: attention heads; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        qkv_bias: the projections to queries, keys and values have a bias.
        dropout: share of the attention weights that are dropped in training.
        causal: a token looks at none behind it.

    Raises:
        ValueError: ``channels`` is not divisible by ``heads`` or ``head_channels``.
    """

    TRAITS = MixerTraits(cost="N^2", causal="option")

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, qkv_bias: bool = False,
        dropout: float = 0.0, causal: bool = False,
    ) -> None:
        super().__init__(
            channels, heads=count_heads(channels, heads, head_channels), dropout=dropout, qkv_bias=qkv_bias
        )
        self.causal = causal

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        ``size`` is not needed: attention knows no places.
        """
        query, key, value = self.project(x)                                                # (B, heads, N, D) each
        seen = None if mask is None else seen_keys(mask)
        if self.causal:
            seen = earlier_keys(x.shape[1], x.shape[1], mask, device=x.device)
        return keep_real(self.mix(query, key, value, seen), mask)

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        absorb(self.in_proj, scale, shift)


def seen_keys(mask: Tensor) -> Tensor:
    """The keys (B, 1, 1, N) that queries see; all of them where there is no real token, since none gives NaN."""
    return (mask | ~mask.any(dim=1, keepdim=True))[:, None, None]
