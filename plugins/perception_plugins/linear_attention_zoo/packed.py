"""What the mixers share: one projection to queries, keys and values before the core, and one behind it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perception.compression.batch_norm import absorb
from perception.models.attention.heads import by_head, count_heads, together
from perception.models.metaformer.block import init_linear_layers
from perception.models.mixers.traits import State
from perception.models.token_layout import keep_real


class PackedMixer(nn.Module):
    """The wrapper that makes all cores comparable; a subclass is one core.

    Args:
        channels: width C of the tokens.
        heads: of the attention; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.

    Raises:
        ValueError: ``channels`` is not divisible by ``heads`` or ``head_channels``.
    """

    def __init__(self, channels: int, *, heads: int | None = None, head_channels: int = 32) -> None:
        super().__init__()
        self.heads = count_heads(channels, heads, head_channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        init_linear_layers(self)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        ``size`` is not needed: tokens are a row, in the order in which they come.
        """
        x = keep_real(x, mask)
        return keep_real(self._out(self.attend(x, mask), x), mask)

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The core: tokens (B, N, C), 0 where ``mask`` (B, N) is False -> (B, heads, N, D), any numbers there."""
        raise NotImplementedError

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, C) -> queries, keys and values, (B, heads, N, D) each."""
        q, k, v = (by_head(part, self.heads) for part in self.qkv(x).chunk(3, dim=2))
        return q, k, v

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        absorb(self.qkv, scale, shift)

    def _out(self, mixed: Tensor, x: Tensor) -> Tensor:
        return self.proj(together(mixed).to(x.dtype))


class CausalMixer(PackedMixer):
    """A `PackedMixer` that can be causal and then goes on from where it stopped.

    Args:
        channels: width C of the tokens.
        causal: a token looks at none behind it.
        options: further arguments of a `PackedMixer`.
    """

    def __init__(self, channels: int, *, causal: bool, **options: Any) -> None:
        super().__init__(channels, **options)
        self.causal = causal

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The next tokens (B, N, C), N >= 1 -> what they become and the state behind them; see `StreamingMixer`.

        Raises:
            ValueError: the mixer was built without its causal option.
        """
        if not self.causal:
            raise ValueError(f"stream needs a {type(self).__name__} with causal=True, got causal=False")
        mixed, state = self.advance(x, state)
        return self._out(mixed, x), state

    def advance(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """The core of `stream`: (B, N, C) -> (B, heads, N, D), and the state behind them."""
        raise NotImplementedError


def at_least_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors whose sums lose nothing that counts."""
    return tuple(x.to(torch.promote_types(x.dtype, torch.float32)) for x in tensors)
