"""Manhattan self-attention (MaSA), whole and decomposed into a pass along rows and one along columns."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .depthwise import DepthwiseConv
from .position import DecayTables


class MaSA(nn.Module):
    """Softmax attention whose logits fall with distance, and a convolution of the values beside it.

    RMT (Fan et al., CVPR 2024), sections 3.2 and 3.3. The decay is added to the logits before the softmax, as in the
    authors' code (the paper multiplies by it after the softmax). Decomposed attention looks along the rows first and
    with what they gave along the columns, with the same queries and keys.

    Args:
        channels: width C, divisible by twice the ``heads``.
        heads: of the attention.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.local = DepthwiseConv(channels, 5)
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Tensor, tables: DecayTables, real: Tensor | None = None) -> Tensor:
        """Mix the tokens of a map.

        Args:
            x: (B, H, W, C).
            tables: of a `DecayPosition` for H, W; they tell whether the attention is decomposed.
            real: (B, H, W) bool, False where a token is nobody's: no other one sees it. None if all are real.

        Returns:
            (B, H, W, C); of any finite value where ``real`` is False, provided that ``x`` is finite there.
        """
        values = self.v(x)
        if real is not None:
            values = values.masked_fill(~real[..., None], 0)                               # as beyond the border
        q, k, v = (y.unflatten(-1, (self.heads, -1)) for y in (self.q(x), self.k(x), values))   # (B, H, W, heads, D)
        q, k = turned(q, tables), turned(k, tables)
        if len(tables.decays) == 1:
            q, k, v = (y.flatten(1, 2) for y in (q, k, v))                                 # (B, H * W, heads, D)
            mixed = attend(q, k, v, tables.decays[0], None if real is None else real.flatten(1))
        else:
            across, down = tables.decays
            v = attend(q, k, v, across, real)                                              # (B, H, W, heads, D)
            q, k, v = (y.transpose(1, 2) for y in (q, k, v))                               # (B, W, H, heads, D)
            mixed = attend(q, k, v, down, None if real is None else real.transpose(1, 2)).transpose(1, 2)
        return self.project(mixed.reshape(x.shape) + self.local(values))


def turned(x: Tensor, tables: DecayTables) -> Tensor:
    """Turn each pair of neighbouring features by the angle of its token: (B, H, W, heads, D) -> the same."""
    quarter = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
    return (x * tables.cos[:, :, None] + quarter * tables.sin[:, :, None]).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, real: Tensor | None = None) -> Tensor:
    """Softmax attention within sequences.

    Args:
        q: (..., S, heads, D) queries; any number of leading dimensions.
        k: keys likewise.
        v: values likewise.
        decay: (heads, S, S), added to the logits.
        real: (..., S) bool, False for keys that no token looks at, unless its sequence has no other.

    Returns:
        (..., S, heads, D).
    """
    shape = q.shape
    q, k, v = (y.reshape(-1, *shape[-3:]).transpose(1, 2) for y in (q, k, v))              # (G, heads, S, D)
    bias = decay.to(q.dtype)[None]
    if real is not None:
        rows = real.reshape(-1, shape[-3])
        hidden = ~rows & rows.any(dim=1, keepdim=True)                                     # (G, S); never a whole row
        bias = bias.masked_fill(hidden[:, None, None], -torch.inf)                         # (G, heads, S, S)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).reshape(shape)
