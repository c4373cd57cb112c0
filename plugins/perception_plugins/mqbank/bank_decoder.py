"""MQBank's decoder: queries start from the roads of a navigation map and keep, by the bank, the detail of their points.

"Control Map Distribution using Map Query Bank for Online Map Generation" (2025). The paper tells the idea and no layer
was released; what its text leaves open is defined here, in `bank` and in `sd_anchors`:

- the first queries take the anchors, the rest stay LaneSegNet's, so that without a navigation map the model is that one
  plus the terms of the bank;
- in a layer each of a query's eight boundary points reads the map for itself, from its query's content, what the bank
  holds there and a code of its slot; the answers are pooled by attention and added to the query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from perception.models.attention.deformable import DeformableAttention
from perception.registry import MODELS
from perception.structures import SDMap

from .bank import QueryBank
from .lane_decoder import LINE_POINTS, LaneAttention, LaneDecoder, LaneDecoderLayer, LaneLayerOutput, LaneQueries
from .point_range import PointRange
from .sd_anchors import ANCHOR_LEARNED, SDAnchors, forward_crossings, sd_anchors
from .shape_code import ShapeCode

REFERENCE_MARGIN = 1e-4                              # an anchor's centre line is kept so far inside the unit cube


class PointAttention(nn.Module):
    """The boundary points of a query read the map one by one, and their answers are pooled.

    Args:
        channels: width C.
        heads: heads of the deformable attention.
        points: places a head.
        boundary_size: S, boundary points of a query.
        use_bank: whether the points' tokens hold what the bank holds at their place.
    """

    def __init__(self, channels: int, *, heads: int, points: int, boundary_size: int, use_bank: bool) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, heads=heads, points=points)
        self.bank_proj = nn.Linear(channels, channels) if use_bank else None
        self.slot_embedding = nn.Embedding(boundary_size, channels)
        self.pool_score, self.pool_out = nn.Linear(channels, 1), nn.Linear(channels, channels)
        nn.init.normal_(self.slot_embedding.weight, std=0.02)

    def forward(self, queries: LaneQueries, memory: Tensor, bev_size: tuple[int, int]) -> Tensor:
        """Queries and (B, H * W, C) map -> (B, Q, C) without the residual."""
        tokens = self.tokens(queries)
        read = self.read(tokens, queries.points, memory, bev_size)
        return self.pool_out((self.shares(tokens, read)[..., None] * read).sum(dim=2))

    def tokens(self, queries: LaneQueries) -> Tensor:
        """(B, Q, S, C) what each point asks with."""
        tokens = (queries.content + queries.position)[:, :, None] + self.slot_embedding.weight
        if self.bank_proj is None or queries.samples is None:
            return tokens
        return tokens + self.bank_proj(queries.samples)

    def read(self, tokens: Tensor, points: Tensor, memory: Tensor, bev_size: tuple[int, int]) -> Tensor:
        """(B, Q, S, C) what each point finds in the map around its place (B, Q, S, 3)."""
        reference = points[..., :2].flatten(1, 2)[:, :, None, None, None]        # (B, Q * S, 1, 1, 1, 2)
        read = self.attention(tokens.flatten(1, 2), self.attention.project(memory), [bev_size], reference)
        return read.view_as(tokens)

    def shares(self, tokens: Tensor, read: Tensor) -> Tensor:
        """(B, Q, S) how much each point counts, 1 in all."""
        return self.pool_score((read + tokens).tanh()).squeeze(-1).softmax(dim=2)


@MODELS.register_module()
class MQBankDecoder(LaneDecoder):
    """The decoder with a query bank and the prior of a navigation map.

    Args:
        channels: width C of the queries and of the map.
        point_range: x y z of the lower, then of the upper corner of the space that the map covers [m].
        num_queries: Q.
        num_layers: layers.
        heads: heads of all attentions.
        sampling_points: places a head: 4 of the point attention; a lane attention has 32.
        bank_size: rows and columns of the bank.
        use_bank: "everywhere", only for the queries' "start", or "never".
        cross_attention: "point", or "lane" as in LaneSegNet; that one has no place for the bank.
        boundary_size: points that stand for both boundaries of a lane in the point attention; a lane attention has as
            many as heads.
        max_anchors: most anchors that become queries, nearest first; 0 ignores navigation maps.
        feedforward: hidden width of the linear layers; None is twice ``channels``.
        line_points: K, points of a line.
        dropout: after each part of a layer.
        shape_code: the position of a query tells the shape of its lane, and follows it from layer to layer (as in
            "DAB-DETR", Liu et al., ICLR 2022). Without, a query learns of its anchor what the bank holds at its points,
            which takes a long training.

    Raises:
        ValueError: ``use_bank`` or ``cross_attention`` is another, ``max_anchors`` is negative, or a width does not
            fit.
    """

    def __init__(
        self,
        channels: int = 256,
        point_range: Sequence[float] = (-51.2, -25.6, -2.3, 51.2, 25.6, 1.7),
        *,
        num_queries: int = 200,
        num_layers: int = 6,
        heads: int = 8,
        sampling_points: int = 4,
        bank_size: tuple[int, int] = (50, 100),
        use_bank: Literal["everywhere", "start", "never"] = "everywhere",
        cross_attention: Literal["point", "lane"] = "point",
        boundary_size: int = 8,
        max_anchors: int = 150,
        feedforward: int | None = None,
        line_points: int = LINE_POINTS,
        dropout: float = 0.1,
        shape_code: bool = False,
    ) -> None:
        if use_bank not in ("everywhere", "start", "never"):
            raise ValueError(f'use_bank must be "everywhere", "start" or "never", got {use_bank!r}')
        if cross_attention not in ("point", "lane"):
            raise ValueError(f'cross_attention must be "point" or "lane", got {cross_attention!r}')
        if max_anchors < 0:
            raise ValueError(f"max_anchors must be >= 0, got {max_anchors}")
        by_point = cross_attention == "point"
        boundary_size = boundary_size if by_point else heads
        in_layers = by_point and use_bank == "everywhere"
        layers = [
            LaneDecoderLayer(
                channels, heads=heads, feedforward=feedforward or 2 * channels, line_points=line_points,
                dropout=dropout,
                cross_attention=(
                    PointAttention(
                        channels, heads=heads, points=sampling_points, boundary_size=boundary_size, use_bank=in_layers
                    )
                    if by_point
                    else LaneAttention(channels, heads=heads, points=sampling_points)
                ),
            )
            for _ in range(num_layers)
        ]
        super().__init__(
            layers, PointRange.of(point_range), channels=channels, num_queries=num_queries, line_points=line_points,
            boundary_size=boundary_size,
        )
        self.max_anchors, self.max_queries, self.in_layers = min(max_anchors, num_queries), num_queries, in_layers
        self.bank = None if use_bank == "never" else QueryBank(channels, bank_size)
        self.slot_embedding = nn.Embedding(boundary_size, channels)
        self.type_embedding = nn.Embedding(3, channels)
        self.content_proj = nn.Linear(channels, channels)
        self.pos_proj = None if self.bank is None else nn.Linear(channels, channels)
        self.shape_code = ShapeCode(boundary_size, channels) if shape_code else None
        for embedding in (self.slot_embedding, self.type_embedding):
            nn.init.normal_(embedding.weight, std=0.02)

    def first_queries(self, batch_size: int, sd_maps: Sequence[SDMap | None] | None = None) -> LaneQueries:
        """Learned queries of which the first take the anchors of their sample's navigation map."""
        if sd_maps is not None and len(sd_maps) != batch_size:
            raise ValueError(f"sd_maps must be {batch_size}, one a sample, got {len(sd_maps)}")
        known = sd_maps or [None] * batch_size
        return self.start([None if sd_map is None else self.anchors(sd_map) for sd_map in known])

    def anchors(self, sd_map: SDMap) -> SDAnchors | None:
        """The anchors that touch the model's range, as many as may become queries; None if there is none."""
        if not self.max_anchors:
            return None
        anchors = forward_crossings(sd_anchors(sd_map.to("cpu"), self.line_points))        # dozens of short steps
        unit = self.point_range.to_unit(anchors.centers)[..., :2]                # (M, K, 2)
        anchors = anchors[((unit >= 0) & (unit <= 1)).all(dim=2).any(dim=1)][: self.max_anchors]
        return anchors if len(anchors) else None

    def start(self, anchors: Sequence[SDAnchors | None]) -> LaneQueries:
        """The first queries of each sample from its anchors, of which there are at most Q."""
        learned = super().first_queries(len(anchors))
        reference, points = learned.reference.clone(), learned.points.clone()
        kinds = torch.full(reference.shape[:2], ANCHOR_LEARNED, dtype=torch.int64, device=reference.device)
        for sample, found in enumerate(anchors):
            if found is None:
                continue
            count = len(found)
            ends = torch.cat([found.lefts[:, self.boundary_points], found.rights[:, self.boundary_points]], dim=1)
            centers = self.point_range.to_unit(found.centers).clamp(REFERENCE_MARGIN, 1 - REFERENCE_MARGIN)
            reference[sample, :count] = centers.to(reference)
            points[sample, :count] = self.point_range.to_unit(ends).to(points)
            kinds[sample, :count] = found.kinds.to(kinds.device)
        content, position = self.slot_embedding.weight.mean(dim=0), learned.position     # the slots' mean, (C,)
        samples = None
        if self.bank is not None and self.pos_proj is not None:
            samples = self.bank(points)                                                  # (B, Q, S, C)
            mean = samples.mean(dim=2)
            content, position = content + mean, position + self.pos_proj(mean)
        if self.shape_code is not None:
            position = position + self.shape_code(points)
        content = learned.content + self.content_proj(content) + self.type_embedding(kinds)
        return LaneQueries(content, position, reference, points, samples)

    def next_queries(self, queries: LaneQueries, output: LaneLayerOutput) -> LaneQueries:
        """The queries of the next layer, with what the bank holds at their new points."""
        moved = super().next_queries(queries, output)
        if self.shape_code is not None:
            change = self.shape_code(moved.points) - self.shape_code(queries.points)
            moved = replace(moved, position=moved.position + change)
        if self.bank is None or not self.in_layers:
            return moved
        return replace(moved, samples=self.bank(moved.points))
