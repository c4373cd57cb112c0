"""Where tokens are, as RMT tells it to attention: decay by Manhattan distance, and a rotation by raster index."""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)
LONGEST_WAVE = 10_000.0                              # the slowest pair of features turns by 1 rad in so many tokens
LARGE_DECAY_BYTES = 2**30


class DecayTables(NamedTuple):
    """What depends on the size of a map alone.

    Args:
        sin: (H, W, D) sines of the angle by which each token's features are turned.
        cos: (H, W, D) cosines of it.
        decays: what is added to the logits of attention: (heads, H * W, H * W) for all pairs of tokens; if attention
            is decomposed two, (heads, W, W) for the columns of a row and (heads, H, H) for the rows of a column.
    """

    sin: Tensor
    cos: Tensor
    decays: tuple[Tensor, ...]


class DecayPosition(nn.Module):
    """Tables of the spatial prior of Manhattan self-attention.

    RMT (Fan et al., CVPR 2024), section 3.2. The logit of two tokens falls by -log(1 - 2^-(start + span * h / heads))
    for each step of Manhattan distance, in head h. Tokens are counted row by row for the rotation, so the angles depend
    on the width of the map. The tables are float32.

    Args:
        channels: token width C.
        heads: heads of the attention; C / heads is D, an even number, since features turn in pairs.
        start: of the exponent, > 0; the greater, the slower logits fall.
        span: by how much the exponent grows over the heads, >= 0.
        decomposed: tables for one axis at a time.

    Raises:
        ValueError: heads do not divide the channels into even widths, or the exponents are out of range.
    """

    angle: Tensor
    decay: Tensor

    def __init__(
        self, channels: int, heads: int, start: float = 2.0, span: float = 4.0, *, decomposed: bool = False
    ) -> None:
        super().__init__()
        if heads < 1 or channels % (2 * heads):
            raise ValueError(f"channels ({channels}) must be divisible by twice the heads ({heads})")
        if start <= 0 or span < 0:
            raise ValueError(f"start must be > 0 and span >= 0, got {start} and {span}")
        self.decomposed, self.warned = decomposed, False
        pairs = channels // heads // 2
        angle = LONGEST_WAVE ** -torch.linspace(0, 1, pairs)
        self.register_buffer("angle", angle.repeat_interleave(2))                          # (D,)
        self.register_buffer("decay", torch.log(1 - 2.0 ** (-start - span * torch.arange(heads) / heads)))   # (heads,)

    def forward(self, size: tuple[int, int]) -> DecayTables:
        """The tables of a map of ``size``: H, W."""
        height, width = size
        place = torch.arange(height * width, device=self.angle.device).view(height, width, 1)
        phase = place * self.angle.float()                                                 # (H, W, D)
        decay = self.decay.float()[:, None, None]                                          # (heads, 1, 1)
        across, down = self._distances(width), self._distances(height)
        if self.decomposed:
            return DecayTables(phase.sin(), phase.cos(), (decay * across, decay * down))
        self._warn_if_large(height * width)
        steps = down[:, None, :, None] + across[:, None, :]                                # (H, W, H, W)
        return DecayTables(phase.sin(), phase.cos(), (decay * steps.flatten(2).flatten(0, 1),))

    def _distances(self, length: int) -> Tensor:
        """(length, length), between any two places of an axis."""
        places = torch.arange(length, device=self.decay.device)
        return (places[:, None] - places).abs()

    def _warn_if_large(self, tokens: int) -> None:
        if torch.compiler.is_compiling() or self.warned:
            return
        size = 4 * len(self.decay) * tokens**2
        if size > LARGE_DECAY_BYTES:
            self.warned = True
            logger.warning(
                "attention among all %d tokens needs a table of %.1f GiB; decompose the stage, or use smaller pictures",
                tokens, size / 2**30,
            )
