"""What a lane head should say of a frame: lane segments, and crossings in the form of lane segments.

"LaneSegNet" (Li et al., ICLR 2024), section 3.1 and the release's loading of annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import shapely
import torch
from torch import Tensor

from perception.structures import LaneGraph
from perception.structures.polylines import resample_line, resample_lines

LANE, CROSSING = 0, 1                                # of `LANE_CLASSES`
CROSSING_AREA = 0                                    # of `AREA_CLASSES`
CrossingEdges = Literal["annotated", "long"]


@dataclass(frozen=True)
class LaneTargets:
    """G true elements: first the lanes, in the order of the graph, then the crossings.

    Args:
        centers, lefts, rights: (G, K, 3) lines [m].
        labels: (G,) int64 index into `LANE_CLASSES`.
        left_types, right_types: (G,) int64 index into `LINE_TYPES`; crossings have none.
        connections: (L, L) of the L lanes, 1 where lane j follows lane i.
        masks: (G, H, W) float32, 1 in cells between left and right; None if not asked for.
    """

    centers: Tensor
    lefts: Tensor
    rights: Tensor
    labels: Tensor
    left_types: Tensor
    right_types: Tensor
    connections: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def lanes(self) -> Tensor:
        """(G, 9 K) all coordinates: centre, left, right."""
        return torch.cat([self.centers, self.lefts, self.rights], dim=1).flatten(1)


def lane_targets(
    graph: LaneGraph,
    line_points: int = 10,
    *,
    mask_size: tuple[int, int] | None = None,
    mask_region: Sequence[float] = (-50.0, -25.0, 50.0, 25.0),
    crossing_edges: CrossingEdges = "annotated",
) -> LaneTargets:
    """Targets of one frame; the centre line is the mean of left and right.

    Args:
        graph: lanes and areas, ego frame [m]; areas other than crossings are left out.
        line_points: K, points of a line.
        mask_size: rows and columns of the masks; None makes none.
        mask_region: x y of the lower, then of the upper corner that the masks cover [m].
        crossing_edges: see `crossing_boundaries`.
    """
    lefts, rights = (_with_points(lines, line_points) for lines in (graph.lefts, graph.rights))
    crossings = graph.areas[graph.area_labels == CROSSING_AREA]
    edges = [crossing_boundaries(outline, crossing_edges) for outline in crossings]
    if edges:
        sides = [torch.stack([resample_line(edge[side], line_points) for edge in edges]).to(lefts) for side in (0, 1)]
        lefts, rights = torch.cat([lefts, sides[0]]), torch.cat([rights, sides[1]])
    labels = graph.left_types.new_full((len(lefts),), LANE)
    labels[len(graph) :] = CROSSING
    none = graph.left_types.new_zeros(len(edges))
    masks = None if mask_size is None else lane_masks(lefts, rights, mask_size, mask_region)
    return LaneTargets(
        (lefts + rights) / 2, lefts, rights, labels, torch.cat([graph.left_types, none]),
        torch.cat([graph.right_types, none]), graph.connections, masks,
    )


def crossing_boundaries(outline: Tensor, edges: CrossingEdges = "annotated") -> tuple[Tensor, Tensor]:
    """Left and right boundary (2, 3) each of a pedestrian crossing.

    Args:
        outline: (V, 3). One of four corners, with or without the first repeated, is taken as it is; any other through
            the least rectangle around it in the xy plane, at its mean height, from the corner nearest to the outline's
            first vertex and turning as the outline does.
        edges: "annotated": the first and the third edge, as OpenLane-V2 lists corners; "long": the two longer ones,
            the left one on the left.

    The first edge p0 p1 points forward unless its direction is below -45 or above 135 degrees; then p2 p3 and p1 p0 are
    left and right instead of p0 p1 and p3 p2.
    """
    closed = len(outline) > 1 and bool((outline[0] == outline[-1]).all())
    corners = outline[:-1] if closed else outline
    if len(corners) != 4:
        corners = _least_rectangle(corners)
    if edges == "long":
        corners = _long_edges_first(corners)
    p0, p1, p2, p3 = corners
    if runs_backward(p1 - p0):
        return torch.stack([p2, p3]), torch.stack([p1, p0])
    return torch.stack([p0, p1]), torch.stack([p3, p2])


def runs_backward(directions: Tensor) -> Tensor:
    """(..., >= 2) directions -> (...) whether they point below -45 or above 135 degrees, so a crossing is turned."""
    angles = torch.rad2deg(torch.atan2(directions[..., 1].double(), directions[..., 0].double()))
    return (angles < -45) | (angles > 135)


def _least_rectangle(outline: Tensor) -> Tensor:
    """(V, 3) -> (4, 3) corners of the least rectangle around it."""
    flat = outline[:, :2].double().cpu().numpy()
    ring = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shapely.MultiPoint(flat)))
    ring = np.concatenate([ring, np.repeat(ring[-1:], 4, axis=0)])[:4]           # a point or a segment has fewer
    if _signed_area(ring) * _signed_area(flat) < 0:
        ring = ring[::-1]
    ring = np.roll(ring, -int(np.linalg.norm(ring - flat[0], axis=1).argmin()), axis=0)
    corners = torch.as_tensor(ring.copy(), dtype=outline.dtype, device=outline.device)
    return torch.cat([corners, outline[:, 2].mean().expand(4, 1)], dim=1)


def _signed_area(ring: np.ndarray) -> float:
    """(V, 2) -> area, negative if the ring turns clockwise."""
    x, y = ring.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def _long_edges_first(corners: Tensor) -> Tensor:
    """(4, 3) corners turned so that the first edge is one of the longer pair and the third lies on its right."""
    lengths = (corners.roll(-1, 0) - corners)[:, :2].norm(dim=1)
    if lengths[1] + lengths[3] > lengths[0] + lengths[2]:
        corners = corners.roll(-1, 0)
    ahead, across = (corners[1] - corners[0])[:2], (corners[3] - corners[0])[:2]
    runs_right = ahead[0] * across[1] - ahead[1] * across[0] <= 0
    return corners if runs_right else corners[[1, 0, 3, 2]]


def lane_masks(lefts: Tensor, rights: Tensor, size: tuple[int, int], region: Sequence[float]) -> Tensor:
    """(G, K, 3) boundaries -> (G, H, W) float32, 1 in cells that the polygon between them covers or touches.

    Coordinates are cut to whole cells before the polygon is drawn, as the release does.
    """
    H, W = size
    low, high = np.asarray(region[:2]), np.asarray(region[2:])
    outlines = torch.cat([lefts, rights.flip(1)], dim=1)[..., :2].double().cpu().numpy()      # (G, 2 K, 2)
    scale = np.array([W, H]) / (high - low)
    middle = (high + low) / 2
    cells = ((outlines - middle) * scale + np.array([W // 2, H // 2])).astype(np.int32)
    canvas = np.zeros((len(cells), H, W), dtype=np.uint8)
    for plane, polygon in zip(canvas, cells, strict=True):
        cv2.fillPoly(plane, [polygon], (1,))
    return torch.from_numpy(canvas).to(lefts.device).float()


def _with_points(lines: Tensor, count: int) -> Tensor:
    """(N, K, 3) -> (N, count, 3), untouched if they have as many."""
    if lines.shape[1] == count:
        return lines
    return resample_lines(lines, count) if len(lines) else lines.new_zeros(0, count, 3)
