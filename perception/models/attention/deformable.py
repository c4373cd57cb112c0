"""Multi-scale deformable attention: every query reads a few learned places of a feature map.

Zhu et al., "Deformable DETR", ICLR 2021, section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shapes = Sequence[tuple[int, int]]


def sample_and_mix(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples, with zeros outside a map and cell centres at half-integers.

    Args:
        value: (B, S, heads, D), the maps of all levels flattened row by row and laid end to end.
        shapes: (H, W) of each level; S is the sum of H * W.
        locations: (B, Q, heads, levels, points, 2), x then y, in [0, 1] across a map.
        weights: (B, Q, heads, levels, points).

    Returns:
        (B, Q, heads * D).
    """
    B, _, heads, D = value.shape
    _, Q, _, _, points, _ = locations.shape
    grids = (2 * locations - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)             # (levels, B * heads, Q, points, 2)
    mixed = value.new_zeros(B * heads, D, Q)
    maps = value.split([H * W for H, W in shapes], dim=1)
    for level, ((H, W), grid) in enumerate(zip(shapes, grids, strict=True)):
        plane = maps[level].permute(0, 2, 3, 1).reshape(B * heads, D, H, W)
        sampled = F.grid_sample(plane, grid.to(plane.dtype), align_corners=False)   # (B * heads, D, Q, points)
        share = weights[:, :, :, level].transpose(1, 2).reshape(B * heads, 1, Q, points)
        mixed = mixed + (sampled * share).sum(dim=3)
    return mixed.view(B, heads * D, Q).transpose(1, 2)


def star_offsets(heads: int, levels: int, points: int) -> Tensor:
    """(heads, levels, points, 2) initial offsets: a direction for each head, point p at distance p + 1 along it."""
    angles = torch.arange(heads, dtype=torch.float32) * (2 * math.pi / heads)
    star = torch.stack([angles.cos(), angles.sin()], dim=1)                         # (heads, 2)
    star = star / star.abs().max(dim=1, keepdim=True).values
    reach = torch.arange(1, points + 1, dtype=torch.float32)
    return (star[:, None, None] * reach[:, None]).expand(heads, levels, points, 2).clone()


class DeformableAttention(nn.Module):
    """Queries read ``points`` places a head and level, offset from their reference points.

    The residual and any dropout are the caller's.

    Args:
        channels: width C of queries and values; divisible by ``heads``.
        heads: attention heads.
        levels: feature maps.
        points: places a head and level.
        output: whether a linear layer follows the mix.
        query_channels: width of the queries if they are wider than the values.
        average_levels: the weights of each level add up to one, and the levels are averaged; otherwise those of all
            levels add up to one.

    Raises:
        ValueError: ``channels`` is not divisible by ``heads``.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 8,
        levels: int = 1,
        points: int = 4,
        output: bool = True,
        query_channels: int | None = None,
        average_levels: bool = False,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
        self.heads, self.levels, self.points, self.average_levels = heads, levels, points, average_levels
        query_channels = query_channels or channels
        self.sampling_offsets = nn.Linear(query_channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(query_channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels) if output else None
        self.init_weights()

    def init_weights(self) -> None:
        """Offsets on a star, equal weights, Xavier projections."""
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(star_offsets(self.heads, self.levels, self.points).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            if layer is not None:
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def project(self, memory: Tensor) -> Tensor:
        """(B, S, C) -> (B, S, heads, D) values, the part that does not depend on the queries."""
        return self.value_proj(memory).unflatten(2, (self.heads, -1))

    def forward(self, query: Tensor, value: Tensor, shapes: Shapes, reference: Tensor) -> Tensor:
        """Mix what each query reads.

        Args:
            query: (B, Q, C or the query's own width), position code added already.
            value: (B, S, heads, D) from `project`.
            shapes: (H, W) of each level.
            reference: points in [0, 1], x then y, that broadcast to (B, Q, heads, levels, points, 2).

        Returns:
            (B, Q, C).
        """
        B, Q, _ = query.shape
        offsets = self.sampling_offsets(query).view(B, Q, self.heads, self.levels, self.points, 2)
        sizes = offsets.new_tensor([(W, H) for H, W in shapes])                     # (levels, 2)
        weights = self.attention_weights(query).view(B, Q, self.heads, self.levels, self.points)
        if self.average_levels:
            weights = weights.softmax(dim=-1) / self.levels
        else:
            weights = weights.flatten(3).softmax(dim=-1).view_as(weights)
        mixed = sample_and_mix(value, shapes, reference + offsets / sizes[:, None], weights)
        return mixed if self.output_proj is None else self.output_proj(mixed)
