"""BEVFormer's lift: queries of a bird's-eye-view grid attend to what they were and to the cameras that see them.

"BEVFormer: Learning Bird's-Eye-View Representation from Multi-Camera Images via Spatiotemporal Transformers" (Li et
al., ECCV 2022), in the form of LaneSegNet (Li et al., ICLR 2024). The release lists the cells that a camera sees for
the first sample of a batch only, and mixes the samples in the temporal attention; here each sample is treated alone,
which is the same for a batch of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.models.attention.deformable import DeformableAttention, Shapes
from perception.models.attention.feed_forward import feed_forward
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS

from .pillar_views import PillarViews, pillar_points, project_pillars, views_of

CAN_BUS_SIGNALS = 18


class SpatialCrossAttention(nn.Module):
    """Cells read from the cameras that see their pillar; the cameras' answers are averaged.

    Args:
        channels: width C.
        heads: attention heads.
        levels: feature maps of a camera.
        points: places a head and level; place p is offset from point p modulo ``anchors`` of the pillar.
        anchors: points of a pillar.

    Raises:
        ValueError: ``points`` is not a multiple of ``anchors``.
    """

    def __init__(self, channels: int, *, heads: int, levels: int, points: int, anchors: int) -> None:
        super().__init__()
        if points % anchors:
            raise ValueError(f"points ({points}) must be a multiple of the pillar's anchors ({anchors})")
        self.repeats = points // anchors
        self.attention = DeformableAttention(channels, heads=heads, levels=levels, points=points, output=False)
        self.output_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.output_proj.weight)
        nn.init.zeros_(self.output_proj.bias)

    def forward(self, query: Tensor, memory: Tensor, shapes: Shapes, views: PillarViews) -> Tensor:
        """(B, Q, C) queries and (B * N, S, C) camera features -> (B, Q, C) without the residual."""
        B, Q, C = query.shape
        N, M = views.cells.shape[1:]
        rows = (views.cells + torch.arange(B, device=query.device)[:, None, None] * Q).flatten()
        chosen = query.flatten(0, 1)[rows].view(B * N, M, C)
        reference = views.anchors.flatten(0, 1).repeat(1, 1, self.repeats, 1)    # (B * N, M, points, 2)
        read = self.attention(chosen, self.attention.project(memory), shapes, reference[:, :, None, None])
        read = read * views.is_seen.view(B * N, M, 1)
        total = query.new_zeros(B * Q, C).index_add(0, rows, read.flatten(0, 1).to(query.dtype)).view(B, Q, C)
        return self.output_proj(total / views.cameras[:, :, None])


class BEVFormerLayer(nn.Module):
    """Temporal attention, spatial attention and two linear layers, each followed by its norm.

    Args:
        channels: width C.
        heads: heads of both attentions.
        levels: feature maps of a camera.
        temporal_points: places a head of the temporal attention.
        spatial_points: places a head and level of the spatial attention.
        anchors: points of a pillar.
        feedforward: hidden width of the linear layers.
        dropout: after each part.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        levels: int,
        temporal_points: int,
        spatial_points: int,
        anchors: int,
        feedforward: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.temporal = DeformableAttention(              # the two levels are the map before and the map now
            channels, heads=heads, levels=2, points=temporal_points, query_channels=2 * channels, average_levels=True
        )
        self.spatial = SpatialCrossAttention(
            channels, heads=heads, levels=levels, points=spatial_points, anchors=anchors
        )
        self.ffn = feed_forward(channels, feedforward, dropout)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query: Tensor,
        position: Tensor,
        previous: Tensor | None,
        bev_size: tuple[int, int],
        reference: Tensor,
        memory: Tensor,
        shapes: Shapes,
        views: PillarViews,
    ) -> Tensor:
        """One layer.

        Args:
            query: (B, Q, C), Q cells row by row.
            position: (Q, C) position code.
            previous: (B, Q, C) map before; None takes the query itself.
            bev_size: rows and columns of the map.
            reference: (B or 1, Q, 2, 2) cell centres in the map before and now, in [0, 1].
            memory: (B * N, S, C) camera features of all levels.
            shapes: (H, W) of each level.
            views: cells that each camera sees.

        Returns:
            (B, Q, C).
        """
        now = self.temporal.project(query)
        before = now if previous is None else self.temporal.project(previous)
        query_pair = torch.cat([query if previous is None else previous, query + position], dim=2)
        read = self.temporal(
            query_pair, torch.cat([before, now], dim=1), [bev_size, bev_size], reference[:, :, None, :, None]
        )
        query = self.norm1(query + self.dropout(read))
        query = self.norm2(query + self.dropout(self.spatial(query, memory, shapes, views)))
        return self.norm3(query + self.ffn(query))


@MODELS.register_module(role="lift")
class BEVFormerLift(nn.Module):
    """Camera features to a bird's-eye-view map by deformable attention.

    Args:
        channels: width C of the features and of the map.
        bev_size: rows (along y) and columns (along x) of the map.
        point_range: x y z of the lower, then of the upper corner of the space that the map covers [m].
        num_cameras: N; every camera has an embedding.
        levels: feature maps of a camera.
        num_layers: layers.
        heads: heads of all attentions.
        temporal_points: places a head of the temporal attention.
        spatial_points: places a head and level of the spatial attention; a multiple of ``pillar_heights``.
        pillar_heights: points of the pillar above a cell.
        feedforward: hidden width of the linear layers; None is twice ``channels``.
        dropout: after each part of a layer.
        use_can_bus: whether an embedding of the vehicle's motion is added to the queries.

    Raises:
        ValueError: ``channels`` is odd or not divisible by the heads, or the points are no multiple of the heights.
    """

    def __init__(
        self,
        channels: int = 256,
        bev_size: tuple[int, int] = (100, 200),
        point_range: Sequence[float] = (-51.2, -25.6, -2.3, 51.2, 25.6, 1.7),
        *,
        num_cameras: int = 7,
        levels: int = 4,
        num_layers: int = 3,
        heads: int = 8,
        temporal_points: int = 4,
        spatial_points: int = 8,
        pillar_heights: int = 4,
        feedforward: int | None = None,
        dropout: float = 0.1,
        use_can_bus: bool = True,
    ) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"channels must be even, half codes the row and half the column, got {channels}")
        self.channels, self.bev_size = channels, (int(bev_size[0]), int(bev_size[1]))
        H, W = self.bev_size
        self.query = nn.Embedding(H * W, channels)
        self.row_code, self.column_code = nn.Embedding(H, channels // 2), nn.Embedding(W, channels // 2)
        self.camera_code = nn.Parameter(torch.randn(num_cameras, channels))
        self.level_code = nn.Parameter(torch.randn(levels, channels))
        self.can_bus = _can_bus_embedding(channels) if use_can_bus else None
        self.layers = nn.ModuleList(
            BEVFormerLayer(
                channels, heads=heads, levels=levels, temporal_points=temporal_points, spatial_points=spatial_points,
                anchors=pillar_heights, feedforward=feedforward or 2 * channels, dropout=dropout,
            )
            for _ in range(num_layers)
        )
        self.register_buffer("pillars", pillar_points(self.bev_size, point_range, pillar_heights), persistent=False)
        self.register_buffer("centers", _cell_centers(self.bev_size), persistent=False)
        for code in (self.row_code, self.column_code):
            nn.init.uniform_(code.weight)

    pillars: Tensor
    centers: Tensor

    def forward(
        self,
        features: Sequence[Tensor],
        image_from_ego: Tensor,
        image_size: tuple[int, int],
        *,
        camera_mask: Tensor | None = None,
        can_bus: Tensor | None = None,
        previous: Tensor | None = None,
        shift: Tensor | None = None,
    ) -> Tensor:
        """Lift one batch.

        Args:
            features: a map (B, N, C, H_l, W_l) a level.
            image_from_ego: (B, N, 4, 4): ego-frame point [m] -> u * depth, v * depth, depth, 1 [pixels, m].
            image_size: rows and columns of the padded pictures that the pixels refer to.
            camera_mask: (B, N) bool, False for a camera without a picture, which then has no influence.
            can_bus: (B, 18), see `perception.models.lifts.can_bus`.
            previous: (B, C, H, W) map of the moment before, turned to the vehicle's present direction; None without
                history.
            shift: (B, 2) how far the vehicle moved since, over the map's size; x, then y. None is zero.

        Returns:
            (B, C, H, W), rows along y and columns along x, both ascending.

        Raises:
            ValueError: ``can_bus`` is missing though the lift has an embedding for it, or the cameras or levels are not
                as many as it has codes for.
        """
        B, N = image_from_ego.shape[:2]
        if len(self.camera_code) != N:
            raise ValueError(f"image_from_ego must be of {len(self.camera_code)} cameras, got {N}")
        views = self.views(image_from_ego, image_size, camera_mask)
        memory, shapes = self._memory(features)
        query = self._queries(B, can_bus)
        before = None if previous is None else tokens_of(previous)
        moved = self.centers if shift is None or previous is None else self.centers + shift[:, None]
        reference = torch.stack([moved, self.centers.expand_as(moved)], dim=2)    # (B or 1, Q, 2, 2)
        H, W = self.bev_size
        position = torch.cat(
            [self.column_code.weight.expand(H, W, -1), self.row_code.weight[:, None].expand(H, W, -1)], dim=2
        ).flatten(0, 1)                                                           # (Q, C)
        for layer in self.layers:
            query = layer(query, position, before, self.bev_size, reference, memory, shapes, views)
        return map_of(query, self.bev_size)

    def views(
        self, image_from_ego: Tensor, image_size: tuple[int, int], camera_mask: Tensor | None = None
    ) -> PillarViews:
        """The cells that each camera sees; see `forward` for the arguments."""
        uv, visible = project_pillars(self.pillars, image_from_ego.float(), image_size)
        return views_of(uv, visible if camera_mask is None else visible & camera_mask[:, :, None, None])

    def _memory(self, features: Sequence[Tensor]) -> tuple[Tensor, list[tuple[int, int]]]:
        """(B * N, S, C) features of all levels with the codes of camera and level, and (H, W) of each level."""
        if len(features) != len(self.level_code):
            raise ValueError(f"features must be {len(self.level_code)} maps, got {len(features)}")
        shapes = [(level.shape[3], level.shape[4]) for level in features]
        flat = [
            level.flatten(3).transpose(2, 3) + self.camera_code[:, None] + code   # (B, N, H_l * W_l, C)
            for level, code in zip(features, self.level_code, strict=True)
        ]
        return torch.cat(flat, dim=2).flatten(0, 1), shapes

    def _queries(self, batch_size: int, can_bus: Tensor | None) -> Tensor:
        query = self.query.weight.expand(batch_size, -1, -1)
        if self.can_bus is None:
            return query
        if can_bus is None:
            raise ValueError("the lift needs can_bus (B, 18); give the data preprocessor use_can_bus=True")
        return query + self.can_bus(can_bus)[:, None]


def _can_bus_embedding(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(CAN_BUS_SIGNALS, channels // 2), nn.ReLU(), nn.Linear(channels // 2, channels), nn.ReLU(),
        nn.LayerNorm(channels),
    )


def _cell_centers(bev_size: tuple[int, int]) -> Tensor:
    """(1, H * W, 2) x, y of the cell centres in [0, 1], row by row."""
    H, W = bev_size
    y, x = torch.meshgrid((torch.arange(H) + 0.5) / H, (torch.arange(W) + 0.5) / W, indexing="ij")
    return torch.stack([x, y], dim=-1).view(1, H * W, 2)
