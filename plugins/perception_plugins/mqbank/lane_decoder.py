"""LaneSegNet's decoder: queries of whole lane segments that read a bird's-eye-view map along their boundaries.

"LaneSegNet: Map Learning with Lane Segment Perception for Autonomous Driving" (Li et al., ICLR 2024), section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from perception.models.attention.deformable import DeformableAttention
from perception.models.attention.feed_forward import feed_forward
from perception.models.inverse_sigmoid import inverse_sigmoid
from perception.registry import MODELS
from perception.structures import SDMap

from .point_range import PointRange

LINE_POINTS = 10


@dataclass(frozen=True)
class LaneQueries:
    """Queries on their way through the decoder.

    Args:
        content: (B, Q, C).
        position: (B, Q, C) position code, the same in all layers.
        reference: (B, Q, K, 3) K points of the centre line in the unit cube.
        points: (B, Q, S, 3) points of the boundaries in the unit cube, S / 2 of the left one, then as many of the right
            one; they may lie outside.
        samples: (B, Q, S, C) what a query bank holds at these points; None without a bank.
    """

    content: Tensor
    position: Tensor
    reference: Tensor
    points: Tensor
    samples: Tensor | None = None

    def first(self, count: int) -> LaneQueries:
        """The first ``count`` queries of each sample."""
        return LaneQueries(
            self.content[:, :count], self.position[:, :count], self.reference[:, :count], self.points[:, :count],
            None if self.samples is None else self.samples[:, :count],
        )


@dataclass(frozen=True)
class LaneLayerOutput:
    """What a layer says of every query.

    Args:
        query: (B, Q, C).
        reference: (B, Q, K, 3) refined centre line in the unit cube.
        regression: (B, Q, K, 3) what was added to the logit of the reference for it.
        offset: (B, Q, K, 3) from the centre line to the left boundary, and from the right one to the centre line [m].
    """

    query: Tensor
    reference: Tensor
    regression: Tensor
    offset: Tensor


def boundary_points(count: int, line_points: int = LINE_POINTS) -> list[int]:
    """Which of the points of a line stand for it: ``count``, evenly from the first to the last (4 of 10: 0 3 6 9)."""
    return [round(place * (line_points - 1) / max(count - 1, 1)) for place in range(count)]


class LaneAttention(nn.Module):
    """Each head reads around its own point of the lane's boundaries.

    Args:
        channels: width C.
        heads: attention heads, as many as the queries have boundary points.
        points: places a head, a multiple of 8; they start in eight directions at growing distances.

    Raises:
        ValueError: ``points`` is no multiple of 8.
    """

    def __init__(self, channels: int, *, heads: int, points: int) -> None:
        super().__init__()
        if points % 8:
            raise ValueError(f"points must be a multiple of 8, got {points}")
        self.attention = DeformableAttention(channels, heads=heads, points=points)
        angles = torch.arange(8) * (2 * math.pi / 8)
        directions = torch.stack([angles.cos(), angles.sin()], dim=1)
        directions = directions / directions.abs().max(dim=1, keepdim=True).values          # (8, 2)
        reach = torch.arange(1, points // 8 + 1)
        star = (directions * reach[:, None, None]).flatten(0, 1)                             # (points, 2)
        with torch.no_grad():
            self.attention.sampling_offsets.bias.copy_(star.expand(heads, -1, -1).flatten())

    def forward(self, queries: LaneQueries, memory: Tensor, bev_size: tuple[int, int]) -> Tensor:
        """Queries and (B, H * W, C) map -> (B, Q, C) without the residual."""
        reference = queries.points[:, :, :, None, None, :2]                                  # (B, Q, heads, 1, 1, 2)
        value = self.attention.project(memory)
        return self.attention(queries.content + queries.position, value, [bev_size], reference)


class LaneDecoderLayer(nn.Module):
    """Self-attention, cross-attention to the map and two linear layers, each followed by its norm; then refinement.

    Args:
        channels: width C.
        heads: heads of the self-attention.
        cross_attention: reads the map, see `LaneAttention`.
        feedforward: hidden width of the linear layers.
        line_points: K.
        dropout: after each part.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        cross_attention: nn.Module,
        feedforward: int,
        line_points: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.cross_attention = cross_attention
        self.ffn = feed_forward(channels, feedforward, dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        self.center = point_branch(channels, 3 * line_points, is_zero=True)      # references begin where they are put
        self.offset = point_branch(channels, 3 * line_points)
        last = cast(nn.Linear, self.center[-1])
        nn.init.zeros_(last.weight)                        # the first references stay where they are put
        nn.init.zeros_(last.bias)

    def forward(self, queries: LaneQueries, memory: Tensor, bev_size: tuple[int, int]) -> LaneLayerOutput:
        """Queries and (B, H * W, C) map -> what the layer says of them."""
        x = queries.content
        placed = x + queries.position
        x = self.norm1(x + self.dropout(self.self_attention(placed, placed, x, need_weights=False)[0]))
        read = self.cross_attention(replace(queries, content=x), memory, bev_size)
        x = self.norm2(x + self.dropout(read))
        x = self.norm3(x + self.ffn(x))
        shape = queries.reference.shape                                                      # (B, Q, K, 3)
        regression, offset = self.center(x).float().view(shape), self.offset(x).float().view(shape)
        return LaneLayerOutput(x, (regression + inverse_sigmoid(queries.reference)).sigmoid(), regression, offset)


def point_branch(channels: int, outputs: int, *, is_zero: bool = False) -> nn.Sequential:
    """Three linear layers with ReLUs between; ``is_zero`` makes it give zeros at first."""
    last = nn.Linear(channels, outputs)
    if is_zero:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(), last)


class LaneDecoder(nn.Module):
    """Queries refined layer by layer; where they start and how they read the map is for the subclasses to say.

    Args:
        layers: the layers, built.
        point_range: the space that the map covers.
        channels: width C of the queries and of the map.
        num_queries: Q.
        line_points: K, points of a line.
        boundary_size: S, points that stand for both boundaries of a lane; even.

    Raises:
        ValueError: ``boundary_size`` is odd, or there is no layer.
    """

    def __init__(
        self,
        layers: Iterable[LaneDecoderLayer],
        point_range: PointRange,
        *,
        channels: int,
        num_queries: int,
        line_points: int,
        boundary_size: int,
    ) -> None:
        super().__init__()
        if boundary_size % 2:
            raise ValueError(f"the points of both boundaries must be even in number, got {boundary_size}")
        self.channels, self.point_range, self.line_points = channels, point_range, line_points
        self.boundary_points = boundary_points(boundary_size // 2, line_points)
        self.query_embedding = nn.Embedding(num_queries, 2 * channels)
        self.reference_points = nn.Linear(channels, 3)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)
        self.layers = nn.ModuleList(layers)
        if not self.layers:
            raise ValueError("a decoder needs a layer")

    def forward(self, bev: Tensor, sd_maps: Sequence[SDMap | None] | None = None) -> list[LaneLayerOutput]:
        """(B, C, H, W) map, and what navigation maps know of the B places, -> what each layer says.

        A layer's points are detached from the layer before; the first ones are not, so gradients reach the queries'
        position through them.
        """
        return self.refine(bev, self.first_queries(len(bev), sd_maps))

    def refine(self, bev: Tensor, queries: LaneQueries) -> list[LaneLayerOutput]:
        """(B, C, H, W) map and the first queries -> what each layer says."""
        memory, bev_size = bev.flatten(2).transpose(1, 2), (bev.shape[2], bev.shape[3])
        outputs = []
        for layer in self.layers:
            outputs.append(layer(queries, memory, bev_size))
            queries = self.next_queries(queries, outputs[-1])
        return outputs

    def first_queries(self, batch_size: int, sd_maps: Sequence[SDMap | None] | None = None) -> LaneQueries:
        """The learned queries, each of whose lines is one point; navigation maps are ignored."""
        position, content = self.query_embedding.weight.expand(batch_size, -1, -1).chunk(2, dim=2)
        start = self.reference_points(position).float().sigmoid()[:, :, None]                # (B, Q, 1, 3)
        points = start.expand(-1, -1, 2 * len(self.boundary_points), -1)
        return LaneQueries(content, position, start.expand(-1, -1, self.line_points, -1), points)

    def next_queries(self, queries: LaneQueries, output: LaneLayerOutput) -> LaneQueries:
        """The queries of the next layer."""
        reference = output.reference.detach()
        _, left, right = self.lines(reference, output.offset.detach())
        ends = torch.cat([left[:, :, self.boundary_points], right[:, :, self.boundary_points]], dim=2)
        return replace(queries, content=output.query, reference=reference, points=self.point_range.to_unit(ends))

    def lines(self, reference: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., K, 3) centre line in the unit cube and offset [m] -> centre, left, right (..., K, 3) [m]."""
        center = self.point_range.to_metres(reference)
        return center, center + offset, center - offset


@MODELS.register_module()
class LaneSegDecoder(LaneDecoder):
    """LaneSegNet's decoder: learned queries and lane attention.

    Args:
        channels: width C of the queries and of the map.
        point_range: x y z of the lower, then of the upper corner of the space that the map covers [m].
        num_queries: Q.
        num_layers: layers.
        heads: heads of all attentions; those of the lane attention are the boundary points, so it is even.
        sampling_points: places a head of the lane attention, a multiple of 8.
        feedforward: hidden width of the linear layers; None is twice ``channels``.
        line_points: K, points of a line.
        dropout: after each part of a layer.

    Raises:
        ValueError: the heads are odd or do not divide ``channels``, or the sampling points are no multiple of 8.
    """

    def __init__(
        self,
        channels: int = 256,
        point_range: Sequence[float] = (-51.2, -25.6, -2.3, 51.2, 25.6, 1.7),
        *,
        num_queries: int = 200,
        num_layers: int = 6,
        heads: int = 8,
        sampling_points: int = 32,
        feedforward: int | None = None,
        line_points: int = LINE_POINTS,
        dropout: float = 0.1,
    ) -> None:
        layers = [
            LaneDecoderLayer(
                channels, heads=heads, feedforward=feedforward or 2 * channels, line_points=line_points,
                dropout=dropout, cross_attention=LaneAttention(channels, heads=heads, points=sampling_points),
            )
            for _ in range(num_layers)
        ]
        super().__init__(
            layers, PointRange.of(point_range), channels=channels, num_queries=num_queries, line_points=line_points,
            boundary_size=heads,
        )
