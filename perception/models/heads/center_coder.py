"""Between boxes in metres and what a centre head regresses at a cell of its map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.registry import MODELS
from perception.structures.boxes3d import wrap_angle

BOX_BRANCHES = {"reg": 2, "height": 1, "dim": 3, "rot": 2, "vel": 2}     # order and width of the code's parts
OTHER_BRANCHES = {"iou": 1, "axis": 2}
CONVENTIONS = ("modern", "legacy")


@dataclass(frozen=True)
class Detections:
    """Boxes of one sample before or after suppression.

    Args:
        boxes: (K, 7 or 9) as `Boxes3D`.
        scores: (K,) float32.
        labels: (K,) int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Tensor | slice) -> Detections:
        return Detections(self.boxes[index], self.scores[index], self.labels[index])


@MODELS.register_module(role="box_coder")
class CenterCoder:
    """A box as offset from its cell, height of the centre, log sizes, sine and cosine of the yaw, and velocity.

    Args:
        voxel_size: cell size of the pillars x, y [m]; further numbers are ignored.
        point_range: x0, y0, ... [m] of the pillar grid.
        out_size_factor: pillars along a side of one cell of the head's map.
        max_num: boxes decoded per task and sample, best first.
        score_threshold: boxes must score more than this.
        post_center_range: x0, y0, z0, x1, y1, z1 [m] that centres must lie in, bounds included; None keeps all.
        box_convention: "modern" regresses length, width, height and the counter-clockwise yaw; "legacy", for networks
            trained with the older code base, width, length, height and the clockwise yaw ``-yaw - pi / 2``. Boxes that
            enter and leave are modern either way.
        iou_power: weight p of a predicted IoU in the score heat^1 iou^p; one number per class gives
            heat^(1 - p) iou^p.

    Raises:
        ValueError: the convention is unknown or a number does not fit.
    """

    def __init__(
        self,
        *,
        voxel_size: Sequence[float],
        point_range: Sequence[float],
        out_size_factor: int = 1,
        max_num: int = 500,
        score_threshold: float = 0.1,
        post_center_range: Sequence[float] | None = None,
        box_convention: str = "modern",
        iou_power: float | Sequence[float] = 2.0,
    ) -> None:
        if box_convention not in CONVENTIONS:
            raise ValueError(f"box_convention must be one of {CONVENTIONS}, got {box_convention!r}")
        if post_center_range is not None and len(post_center_range) != 6:
            raise ValueError(f"post_center_range takes six numbers, got {tuple(post_center_range)}")
        if max_num < 1 or out_size_factor < 1:
            raise ValueError(f"max_num and out_size_factor must be positive, got {max_num} and {out_size_factor}")
        self.cell_size = tuple(float(size) * out_size_factor for size in voxel_size[:2])
        self.voxel_size, self.out_size_factor = tuple(map(float, voxel_size[:2])), out_size_factor
        self.origin = tuple(map(float, point_range[:2]))
        self.max_num, self.score_threshold = max_num, score_threshold
        self.post_center_range, self.is_legacy = post_center_range, box_convention == "legacy"
        self.iou_power = iou_power

    def cells(self, boxes: Tensor) -> Tensor:
        """(K, 2) float32 column and row, with fraction, of the centres of boxes (K, 7 or 9)."""
        voxel, origin = boxes.new_tensor(self.voxel_size), boxes.new_tensor(self.origin)
        return (boxes[:, :2] - origin) / voxel / self.out_size_factor

    def code_sizes(self, boxes: Tensor) -> Tensor:
        """(K, 3) sizes [m] in the order the network regresses them."""
        return boxes[:, [4, 3, 5]] if self.is_legacy else boxes[:, 3:6]

    def encode(self, boxes: Tensor, cells: Tensor) -> Tensor:
        """Codes of boxes (K, 7 or 9) at whole cells (K, 2): (K, 10), velocities NaN where unknown."""
        yaw = -boxes[:, 6:7] - math.pi / 2 if self.is_legacy else boxes[:, 6:7]
        velocity = boxes[:, 7:9] if boxes.shape[1] == 9 else boxes.new_full((len(boxes), 2), math.nan)
        offset = self.cells(boxes) - cells
        return torch.cat([offset, boxes[:, 2:3], self.code_sizes(boxes).log(), yaw.sin(), yaw.cos(), velocity], dim=1)

    def decode_codes(self, codes: Tensor, cells: Tensor) -> Tensor:
        """Boxes (..., 7 or 9) of codes (..., 8 or 10) regressed at whole cells (..., 2)."""
        voxel, origin = codes.new_tensor(self.voxel_size), codes.new_tensor(self.origin)
        center = (cells + codes[..., :2]) * self.out_size_factor * voxel + origin
        size = codes[..., 3:6].exp()
        yaw = torch.atan2(codes[..., 6:7], codes[..., 7:8])
        if self.is_legacy:
            size, yaw = size[..., [1, 0, 2]], wrap_angle(-yaw - math.pi / 2)
        return torch.cat([center, codes[..., 2:3], size, yaw, codes[..., 8:]], dim=-1)

    def decode(self, maps: Mapping[str, Tensor]) -> list[Detections]:
        """Best cells of one task's maps (B, c, H, W) as boxes, one entry per sample, by descending score."""
        scores = self.scores(maps)                                                       # (B, classes, H, W)
        B, _, H, W = scores.shape
        top, flat = scores.flatten(1).topk(min(self.max_num, scores[0].numel()), dim=1)  # (B, K)
        labels, index = torch.div(flat, H * W, rounding_mode="floor"), flat % (H * W)
        cells = torch.stack([index % W, torch.div(index, W, rounding_mode="floor")], dim=2)   # (B, K, 2)
        boxes = self.decode_codes(predicted_codes(maps, index), cells)                   # (B, K, 7 or 9)
        keep = (top > self.score_threshold) & self._in_range(boxes)
        return [Detections(boxes[b][keep[b]], top[b][keep[b]], labels[b][keep[b]]) for b in range(B)]

    def scores(self, maps: Mapping[str, Tensor]) -> Tensor:
        """(B, classes, H, W) heat, weighted by the predicted IoU if there is one."""
        heat = maps["heatmap"].sigmoid()
        if "iou" not in maps:
            return heat
        iou = maps["iou"].clamp(0, 1)
        if isinstance(self.iou_power, (int, float)):
            return heat * iou**self.iou_power
        if len(self.iou_power) != heat.shape[1]:
            raise ValueError(f"iou_power has {len(self.iou_power)} numbers for {heat.shape[1]} classes")
        power = heat.new_tensor(list(self.iou_power))[:, None, None]
        return heat ** (1 - power) * iou**power

    def _in_range(self, boxes: Tensor) -> Tensor:
        if self.post_center_range is None:
            return torch.ones_like(boxes[..., 0], dtype=torch.bool)
        return centers_in_range(boxes, self.post_center_range)


def centers_in_range(boxes: Tensor, center_range: Sequence[float]) -> Tensor:
    """(...) bool: which boxes (..., 7 or 9) have their centre in x0, y0, z0, x1, y1, z1 [m], bounds included."""
    low, high = boxes.new_tensor(list(center_range[:3])), boxes.new_tensor(list(center_range[3:]))
    return ((boxes[..., :3] >= low) & (boxes[..., :3] <= high)).all(dim=-1)


def predicted_codes(maps: Mapping[str, Tensor], index: Tensor) -> Tensor:
    """As `gather_codes`; with an "axis", the yaw is one of its two directions, the one nearer to "rot"."""
    codes = gather_codes(maps, index)
    if "axis" not in maps:
        return codes
    sine2, cosine2 = gather_cells(maps["axis"], index).unbind(2)                         # (B, K) each
    half = torch.atan2(sine2, cosine2) / 2
    heading = torch.stack([half.sin(), half.cos()], dim=2)
    is_behind = (heading * codes[..., 6:8]).sum(dim=2, keepdim=True) < 0
    return torch.cat([codes[..., :6], torch.where(is_behind, -heading, heading), codes[..., 8:]], dim=2)


def axis_of_codes(codes: Tensor) -> Tensor:
    """Sine and cosine of twice the yaw (..., 2) of codes (..., 8 or 10): the same for a box turned half around."""
    sine, cosine = codes[..., 6], codes[..., 7]
    return torch.stack([2 * sine * cosine, cosine**2 - sine**2], dim=-1)


def gather_codes(maps: Mapping[str, Tensor], index: Tensor) -> Tensor:
    """Codes (B, K, 8 or 10) of one task's maps (B, c, H, W) at flat cells (B, K); without "reg" the cell's middle."""
    parts = []
    for name, width in BOX_BRANCHES.items():
        if name in maps:
            parts.append(gather_cells(maps[name], index))
        elif name == "reg":
            parts.append(maps["height"].new_full((*index.shape, width), 0.5))
        elif name != "vel":
            raise ValueError(f"maps lack the branch {name!r}; they have {', '.join(maps)}")
    return torch.cat(parts, dim=2)


def gather_cells(plane: Tensor, index: Tensor) -> Tensor:
    """Values (B, K, c) of a map (B, c, H, W) at flat cells (B, K)."""
    flat = plane.flatten(2)                                                              # (B, c, HW)
    return flat.gather(2, index[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)
