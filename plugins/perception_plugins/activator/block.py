"""The block of Activator."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.mixers.feed_forward import FeedForward
from perception.models.token_layout import keep_real

from .glu import ActivatorGLU


class ActivatorBlock(nn.Module):
    """A gating unit and, if wanted, a feed-forward net, both beside shortcuts and behind one norm that they share.

    Args:
        channels: width C of the tokens.
        hidden: hidden width F of both.
        ffn: there is a feed-forward net.
        dropout: in the feed-forward net.
        activation: see `ActivatorGLU`.
    """

    def __init__(
        self, channels: int, hidden: int, *, ffn: bool = True, dropout: float = 0.0, activation: str = "gelu"
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.glu = ActivatorGLU(channels, hidden=hidden, activation=activation)
        self.ffn = FeedForward(channels, hidden=hidden, dropout=dropout) if ffn else None

    def forward(self, tokens: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C), each token by itself, 0 where ``mask`` (B, N) is False; ``size`` is not needed."""
        tokens = tokens + self.glu(self.norm(tokens))
        if self.ffn is not None:
            tokens = tokens + self.ffn(self.norm(tokens))
        return keep_real(tokens, mask)
