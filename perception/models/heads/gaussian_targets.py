"""Gaussian bumps at object centres, drawn for all objects of a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_radius(size_bev: Tensor, min_overlap: float) -> Tensor:
    """Radius by the three corner cases of CornerNet, of which the smallest counts.

    The last two are, as in every published detector with this head, not divided by their leading coefficient.

    Args:
        size_bev: (K, 2) float32 size in cells along two sides, both > 0.
        min_overlap: IoU that a box with shifted corners keeps with the true one, in (0, 1).

    Returns:
        (K,) float32, radius in cells.

    Raises:
        ValueError: ``min_overlap`` lies outside (0, 1).
    """
    if not 0 < min_overlap < 1:
        raise ValueError(f"min_overlap must lie in (0, 1), got {min_overlap}")
    total, area, q = size_bev.sum(dim=1), size_bev.prod(dim=1), min_overlap
    first = (total + (total**2 - 4 * area * (1 - q) / (1 + q)).clamp(min=0).sqrt()) / 2
    second = (2 * total + (4 * total**2 - 16 * area * (1 - q)).clamp(min=0).sqrt()) / 2
    third = (-2 * q * total + (4 * q**2 * total**2 - 16 * q * area * (q - 1)).sqrt()) / 2
    return torch.minimum(torch.minimum(first, second), third)


def draw_gaussians(shape: tuple[int, int, int], planes: Tensor, cells: Tensor, radius: Tensor) -> Tensor:
    """Heatmaps with one bump per object, the larger value where bumps meet.

    Args:
        shape: number of planes, rows H and columns W.
        planes: (K,) int64 plane of each object.
        cells: (K, 2) int64 column and row of its centre, inside the plane.
        radius: (K,) int64 half-width of its square patch; sigma is (2 radius + 1) / 6.

    Returns:
        (planes, H, W) float32 in [0, 1], exactly 1 at the centres.
    """
    num_planes, H, W = shape
    side = 2 * radius + 1
    counts = side**2
    owner = torch.repeat_interleave(torch.arange(len(planes), device=planes.device), counts)   # (cells of all patches,)
    place = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
    dy = torch.div(place, side[owner], rounding_mode="floor") - radius[owner]
    dx = place % side[owner] - radius[owner]
    sigma = side.double() / 6
    value = torch.exp(-(dx * dx + dy * dy) / (2 * sigma**2)[owner]).float()
    x, y = cells[owner, 0] + dx, cells[owner, 1] + dy
    inside = (x >= 0) & (x < W) & (y >= 0) & (y < H)
    index = ((planes[owner] * H + y) * W + x)[inside]
    heatmap = torch.zeros(num_planes * H * W, device=planes.device)
    return heatmap.scatter_reduce_(0, index, value[inside], "amax").view(num_planes, H, W)
