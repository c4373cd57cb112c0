"""Which cells of a bird's-eye-view map which camera sees, and where in its picture.

"BEVFormer" (Li et al., ECCV 2022), section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_DEPTH = 1e-5                                     # metres, as the release compares


@dataclass(frozen=True)
class PillarViews:
    """The pairs of a camera and a cell that it sees, a list a camera, all lists as long as the longest.

    Args:
        cells: (B, N, M) int64 cells; behind the last one that camera n sees come cells that it does not.
        is_seen: (B, N, M) bool, False for those.
        anchors: (B, N, M, A, 2) where the A points of the pillar lie in the picture, in [0, 1] if inside.
        cameras: (B, Q) how many cameras see the cell, at least 1.
    """

    cells: Tensor
    is_seen: Tensor
    anchors: Tensor
    cameras: Tensor


def pillar_points(bev_size: tuple[int, int], point_range: Sequence[float], heights: int) -> Tensor:
    """(H * W, heights, 3) points above the cell centres, row by row, ego frame [m].

    The lowest lies half a metre above the range's floor, the highest half a metre below its ceiling.
    """
    H, W = bev_size
    x0, y0, z0, x1, y1, z1 = (float(limit) for limit in point_range)
    y = (torch.arange(H) + 0.5) / H * (y1 - y0) + y0
    x = (torch.arange(W) + 0.5) / W * (x1 - x0) + x0
    z = torch.linspace(z0 + 0.5, z1 - 0.5, heights)
    grid = torch.meshgrid(y, x, z, indexing="ij")
    return torch.stack([grid[1], grid[0], grid[2]], dim=-1).flatten(0, 1)


def project_pillars(points: Tensor, image_from_ego: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where pillar points lie in pictures.

    Args:
        points: (Q, A, 3), ego frame [m].
        image_from_ego: (B, N, 4, 4) as `MapDataPreprocessor` gives it.
        image_size: rows and columns of the padded pictures.

    Returns:
        (B, N, Q, A, 2) u, v over the picture's size, and (B, N, Q, A) bool, whether the point lies before the camera
        and within its picture.
    """
    flat = image_from_ego[:, :, :3, :3] @ points.view(-1, 3).T + image_from_ego[:, :, :3, 3:]   # (B, N, 3, Q * A)
    uvd = flat.transpose(2, 3).unflatten(2, points.shape[:2])                    # (B, N, Q, A, 3)
    depth = uvd[..., 2:]
    size = uvd.new_tensor([image_size[1], image_size[0]])
    uv = uvd[..., :2] / depth.clamp(min=MIN_DEPTH) / size
    return uv, (depth[..., 0] > MIN_DEPTH) & ((uv > 0) & (uv < 1)).all(dim=-1)


def views_of(uv: Tensor, is_visible: Tensor) -> PillarViews:
    """List the cells with a visible point for each camera; see `project_pillars` for the arguments."""
    seen = is_visible.any(dim=3)                                                 # (B, N, Q)
    longest = int(seen.sum(dim=2).max()) if seen.numel() else 0                  # the lists' length has to be known
    cells = seen.to(torch.uint8).argsort(dim=2, descending=True, stable=True)[..., :longest]
    rows = cells[..., None, None].expand(*cells.shape, *uv.shape[3:])
    return PillarViews(cells, seen.gather(2, cells), uv.gather(2, rows), seen.sum(dim=1).clamp(min=1))
