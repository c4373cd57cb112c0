"""The layer that all three parts of an AlgoFormer are made of."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.attention.packed import PackedAttention
from perception.models.mixers.feed_forward import FeedForward

NORMS = ("pre_ln", "none")
SCALES = ("rsqrt", "one")


class AlgoFormerLayer(nn.Module):
    """Self-attention, cross-attention if wanted, and a two-layer perceptron, each beside a shortcut.

    Paper, section 3. Theory has no norms and attention scores that are not scaled; experiments have layers of GPT-2.

    Args:
        channels: token width C; divisible by ``heads``.
        heads: attention heads.
        mlp_ratio: hidden width of the perceptron over C, rounded down.
        norm: "pre_ln" before each branch, or "none".
        activation: of the perceptron, "gelu" or "relu".
        qk_scale: scores are scaled by the inverse root of a head's width ("rsqrt"), or not at all ("one").
        cross_attention: tokens also look at a memory, between the two branches (ours).

    Raises:
        ValueError: ``norm`` or ``qk_scale`` is another, or as `PackedAttention` and `FeedForward` do.
    """

    def __init__(
        self, channels: int, heads: int, *, mlp_ratio: float = 4.0, norm: str = "pre_ln", activation: str = "gelu",
        qk_scale: str = "rsqrt", cross_attention: bool = False,
    ) -> None:
        super().__init__()
        if norm not in NORMS or qk_scale not in SCALES:
            raise ValueError(f"norm must be one of {NORMS} and qk_scale of {SCALES}, got {norm!r} and {qk_scale!r}")
        self.norm1, self.norm2 = (_norm(norm, channels) for _ in range(2))
        self.attn = PackedAttention(channels, heads=heads)
        self.mlp = FeedForward(channels, ratio=mlp_ratio, activation=activation)
        self.norm_cross = _norm(norm, channels) if cross_attention else None
        self.cross = PackedAttention(channels, heads=heads) if cross_attention else None
        self.query_factor = (channels // heads) ** 0.5 if qk_scale == "one" else 1.0

    def forward(self, x: Tensor, seen: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
        """One step of all tokens.

        Args:
            x: (B, N, C).
            seen: bool that broadcasts to (B, heads, N, N), True where a query may see a key; None shows all.
            memory: (B, S, C) for cross-attention.

        Returns:
            (B, N, C).

        Raises:
            ValueError: there is a memory and no cross-attention, or the other way round.
        """
        if (memory is None) != (self.cross is None):
            raise ValueError("a memory goes with cross_attention=True, and only with it")
        query, key, value = self.attn.project(self.norm1(x))                               # (B, heads, N, D) each
        x = x + self.attn.mix(query * self.query_factor, key, value, seen)
        if self.cross is not None and self.norm_cross is not None and memory is not None:
            query = self.cross.query(self.norm_cross(x)) * self.query_factor
            x = x + self.cross.mix(query, *self.cross.key_value(memory))
        return x + self.mlp(self.norm2(x))


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.LayerNorm(channels) if kind == "pre_ln" else nn.Identity()
