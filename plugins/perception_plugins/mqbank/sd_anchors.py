"""Lane-like anchors from the roads of a navigation map.

The paper says that such a map selects from the query bank; how is our reading, and it stands here: roads are cut into
pieces of about twenty metres, each gives an anchor for every lane that the road is said to have (two if that is
unknown), 3.5 m wide and side by side about the road's line, those against the line's direction reversed; a crossing
gives one anchor, 3 m wide; footways give none; all lie at height 0. Anchors nearest to the vehicle come first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.structures import SDMap
from perception.structures.polylines import resample_line

from .lane_targets import runs_backward

ANCHOR_LEARNED, ANCHOR_ROAD, ANCHOR_CROSSING = range(3)
ROAD, CROSSING = 0, 1                                # of `SD_CATEGORIES`
PIECE_M = 20.0
LANE_WIDTH_M = 3.5
CROSSING_WIDTH_M = 3.0
SHORTEST_M = 0.01                                    # a shorter line has no direction
DEFAULT_LANES = 2


@dataclass(frozen=True)
class SDAnchors:
    """M anchors, nearest first.

    Args:
        kinds: (M,) int64, ANCHOR_ROAD or ANCHOR_CROSSING.
        centers, lefts, rights: (M, K, 3) lines in driving direction, ego frame [m].
    """

    kinds: Tensor
    centers: Tensor
    lefts: Tensor
    rights: Tensor

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, index: slice | Tensor) -> SDAnchors:
        return SDAnchors(self.kinds[index], self.centers[index], self.lefts[index], self.rights[index])


def sd_anchors(
    sd_map: SDMap,
    line_points: int = 10,
    *,
    piece: float = PIECE_M,
    lane_width: float = LANE_WIDTH_M,
    crossing_width: float = CROSSING_WIDTH_M,
) -> SDAnchors:
    """Anchors of all roads and crossings.

    Args:
        sd_map: roads in the ego frame, clipped to the model's range already.
        line_points: K, points of a line.
        piece: length that the pieces of a road are to be near [m].
        lane_width, crossing_width: how far left and right boundary are apart [m].

    Returns:
        In the order of the distance between the vehicle and the mean of the centre line, equal ones in the order of the
        map. Lines shorter than a centimetre give none.
    """
    lines = [line[:, :2].double() for line in sd_map.lines]
    kinds: list[int] = []
    shapes: list[Tensor] = [torch.zeros(0, 3, line_points, 2, dtype=torch.float64, device=sd_map.lanes.device)]
    lanes, categories = sd_map.lanes.tolist(), sd_map.categories.tolist()
    for line, category, count in zip(lines, categories, lanes, strict=True):
        if category not in (ROAD, CROSSING) or line_length(line) < SHORTEST_M:
            continue
        if category == ROAD:
            pieces = max(1, math.floor(float(line_length(line)) / piece + 0.5))
            middles = resample_pieces(line, pieces, line_points)
            anchors = _lanes(middles, count or DEFAULT_LANES, lane_width, sd_map.right_hand)
        else:
            center = resample_line(line, line_points)[None]
            anchors = _widened(center, _left_normals(center), crossing_width)
        kinds += [ANCHOR_ROAD if category == ROAD else ANCHOR_CROSSING] * len(anchors)
        shapes.append(anchors)
    flat = torch.cat(shapes)                                                     # (M, 3, K, 2)
    order = flat[:, 0].mean(dim=1).norm(dim=1).argsort(stable=True)
    points = torch.cat([flat, torch.zeros_like(flat[..., :1])], dim=3)[order].to(sd_map.lines.vertices.dtype)
    centers, lefts, rights = points.unbind(1)
    return SDAnchors(torch.tensor(kinds, dtype=torch.int64, device=order.device)[order], centers, lefts, rights)


def forward_crossings(anchors: SDAnchors) -> SDAnchors:
    """The same anchors with crossings that run as those to be learned do; a navigation map's run either way."""
    centers, lefts, rights = anchors.centers, anchors.lefts, anchors.rights
    turn = ((anchors.kinds == ANCHOR_CROSSING) & runs_backward(centers[:, -1] - centers[:, 0]))[:, None, None]
    return SDAnchors(
        anchors.kinds, torch.where(turn, centers.flip(1), centers), torch.where(turn, rights.flip(1), lefts),
        torch.where(turn, lefts.flip(1), rights),
    )


def line_length(line: Tensor) -> Tensor:
    """(V, 2) -> its length [m]."""
    return (line[1:] - line[:-1]).norm(dim=1).sum()


def resample_pieces(line: Tensor, pieces: int, points: int) -> Tensor:
    """(V, 2) line cut into equal pieces -> (pieces, points, 2), equally spaced along each, both ends included."""
    every = resample_line(line, pieces * (points - 1) + 1)
    return every.unfold(0, points, points - 1).transpose(1, 2)


def _lanes(middles: Tensor, lanes: int, lane_width: float, right_hand: bool) -> Tensor:
    """(pieces, K, 2) middles of a road -> (pieces * lanes, 3, K, 2) centre, left, right of each lane of each piece."""
    normals = _left_normals(middles)
    anchors = []
    for lane in range(lanes):
        shift = (lane - (lanes - 1) / 2) * lane_width      # to the left
        center, normal = middles + shift * normals, normals
        if (shift > 0) if right_hand else (shift < 0):     # oncoming
            center, normal = center.flip(1), -normal.flip(1)
        anchors.append(_widened(center, normal, lane_width))
    return torch.stack(anchors, dim=1).flatten(0, 1)


def _widened(center: Tensor, normal: Tensor, width: float) -> Tensor:
    """(M, K, 2) centre lines and left normals -> (M, 3, K, 2) centre, left, right."""
    return torch.stack([center, center + width / 2 * normal, center - width / 2 * normal], dim=1)


def _left_normals(lines: Tensor) -> Tensor:
    """(M, K, 2) -> (M, K, 2) unit normals to the left, by differences of neighbours, one-sided at the ends."""
    (tangents,) = torch.gradient(lines, dim=1)
    tangents = tangents / tangents.norm(dim=2, keepdim=True).clamp(min=1e-9)
    return torch.stack([-tangents[..., 1], tangents[..., 0]], dim=2)
