"""Where the cells of the present map lay in the map of an earlier frame, and reading the rows of cells there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.structures import SE3

from ..bev_reading import SAMPLINGS
from ..bilinear import bilinear_corners, sum_rows


@dataclass(frozen=True, eq=False)
class CellMotion:
    """Where cells of B maps are to be read in those of an earlier frame.

    Args:
        seen: (B * H * W,) bool, on the CPU: cells that the earlier map covers; the others are not read.
        index: (P, corners) int64 earlier cells of each of the P cells seen, b * H * W + row * W + column.
        weights: (P, corners) float64, their shares, which add up to 1.
    """

    seen: Tensor
    index: Tensor
    weights: Tensor

    def read(self, rows: Tensor) -> Tensor:
        """Rows (B * H * W, ...) of the earlier cells -> (P, ...) of the cells seen; of whole numbers the nearest."""
        index, weights = self.index.to(rows.device), self.weights.to(rows.device)
        if index.shape[1] == 1 or not rows.is_floating_point():
            return rows.index_select(0, index.gather(1, weights.argmax(dim=1, keepdim=True))[:, 0])
        counts, weights = torch.full_like(index[:, 0], index.shape[1]), weights.to(rows.dtype)
        found = sum_rows(rows.reshape(len(rows), -1), index.flatten(), weights.flatten(), counts)
        return found.view(len(index), *rows.shape[1:])


def cell_motion(
    past_from_present: Sequence[SE3 | None], region: Sequence[float], size: tuple[int, int], sampling: str = "bilinear"
) -> CellMotion:
    """Follow the cells of static maps back through the motion of the vehicle.

    Args:
        past_from_present: of each of B maps, the present ego frame -> that of the earlier map; None if there is no
            earlier map, of which nothing is seen.
        region: x0, y0, x1, y1 [m] that the maps cover; heights are taken to be 0.
        size: rows H (along y) and columns W (along x).
        sampling: "bilinear" weighs the four nearest cells, with the border repeated in its outer half; "nearest" takes
            one, so that nothing is blurred.

    Raises:
        ValueError: the sampling is another.
    """
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling must be one of {SAMPLINGS}, got {sampling!r}")
    cells, corners_read = size[0] * size[1], 1 if sampling == "nearest" else 4
    seen, index, weights = [], [], []
    for sample, motion in enumerate(past_from_present):
        if motion is None:
            seen.append(torch.zeros(cells, dtype=torch.bool))
            continue
        positions = _positions(motion, region, size)                                       # (H * W, 2)
        limits = positions.new_tensor([size[1], size[0]])
        inside = ((positions >= -0.5) & (positions <= limits - 0.5)).all(dim=1)
        positions = positions[inside].clamp(min=0).minimum(limits - 1)
        positions = positions.round() if sampling == "nearest" else positions
        corners, shares = (part[:, :corners_read] for part in bilinear_corners(positions, size))   # (P, corners) each
        seen.append(inside)
        index.append(corners + sample * cells)
        weights.append(shares)
    if not index:
        return CellMotion(torch.cat(seen), torch.zeros(0, 4, dtype=torch.int64), torch.zeros(0, 4).double())
    return CellMotion(torch.cat(seen), torch.cat(index), torch.cat(weights))


def _positions(past_from_present: SE3, region: Sequence[float], size: tuple[int, int]) -> Tensor:
    """(H * W, 2) float64 column and row in the earlier map of each present cell's centre; whole at its centres."""
    xy, (low, step) = cell_centres(region, size), _grid(region, size)
    moved = past_from_present.apply(torch.cat([xy, torch.zeros_like(xy[:, :1])], dim=1))[:, :2]
    return (moved - low) / step - 0.5


def cell_centres(region: Sequence[float], size: tuple[int, int]) -> Tensor:
    """(H * W, 2) float64 x, y [m] of the cells of a map of H rows along y and W columns along x, row by row."""
    low, step = _grid(region, size)
    column, row = torch.meshgrid(torch.arange(size[1]), torch.arange(size[0]), indexing="xy")      # (H, W) each
    return low + (torch.stack([column, row], dim=-1).flatten(0, 1) + 0.5) * step


def _grid(region: Sequence[float], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Lower corner of the map, and a cell's length along x and y; (2,) float64 [m] each."""
    low, high = torch.tensor(region, dtype=torch.float64).view(2, 2)
    return low, (high - low) / torch.tensor([size[1], size[0]])
