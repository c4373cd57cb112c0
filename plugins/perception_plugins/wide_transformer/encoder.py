"""An ordinary encoder whose depth can be traded for width.

"Wide Attention Is The Way Forward For Transformers?" (2022). The rule by which depth becomes width is the paper's, the
order within a layer is an interpretation.
"""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.mixers.feed_forward import FeedForward

from .attention import WideAttentionMixer

NORMS = ("pre", "post")


class WideLayer(nn.Module):
    """Attention and a two-layer perceptron, each beside a shortcut.

    Args:
        channels: token width C.
        heads: attention heads.
        head_channels: width of a head, free of C.
        hidden: width of the perceptron.
        activation: "gelu" or "relu".
        norm: "pre": before each branch; "post": behind each shortcut.
        dropout: of both branches, in training.

    Raises:
        ValueError: ``norm`` is another, or as `WideAttentionMixer` and `FeedForward` do.
    """

    def __init__(
        self, channels: int, *, heads: int, head_channels: int, hidden: int, activation: str = "gelu",
        norm: str = "pre", dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
        self.is_pre = norm == "pre"
        self.norm1, self.norm2 = (nn.LayerNorm(channels) for _ in range(2))
        self.attn = WideAttentionMixer(channels, heads=heads, head_channels=head_channels)
        self.ffn = FeedForward(channels, hidden=hidden, activation=activation, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); no token looks at those where ``mask`` (B, N) is False."""
        if self.is_pre:
            x = x + self.dropout(self.attn.attend(self.norm1(x), mask))
            return x + self.ffn(self.norm2(x))
        x = self.norm1(x + self.dropout(self.attn.attend(x, mask)))
        return self.norm2(x + self.ffn(x))


class WideTransformer(nn.Module):
    """Layers and a norm behind them: tokens to tokens.

    Args:
        channels: token width C.
        depth: layers; 1 is the wide form.
        options: see `WideLayer`.

    Raises:
        ValueError: ``depth`` is below 1, or as `WideLayer` does.
    """

    def __init__(
        self, channels: int, *, depth: int = 1, heads: int, head_channels: int = 64, hidden: int,
        activation: str = "gelu", norm: str = "pre", dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth must be >= 1, got {depth}")
        self.layers = nn.ModuleList(
            WideLayer(
                channels, heads=heads, head_channels=head_channels, hidden=hidden, activation=activation, norm=norm,
                dropout=dropout,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode.

        Args:
            x: (B, N, C).
            mask: (B, N) bool, False where there is no real token: none looks at it.

        Returns:
            (B, N, C); what stands at places without a real token means nothing.
        """
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)
