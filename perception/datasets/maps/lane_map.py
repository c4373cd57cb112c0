"""Lanes, crossings and road boundaries of a whole town, and the lane graph around a pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
import torch
from torch import Tensor

from ...structures import SE3, LaneGraph, Polylines
from ...structures.vector_map import AREA_CLASSES, LINE_TYPES
from .lane_strips import CENTER, LEFT, RIGHT, strips_inside
from .line_clipping import Region, clip_line, into_ego, region_corners

CROSSING, BOUNDARY = (AREA_CLASSES.index(name) for name in ("ped_crossing", "road_boundary"))


@dataclass(frozen=True, eq=False)
class LaneMap:
    """The lanes of a town; global metres, float64.

    Args:
        strips: of N lanes, (M, 3, 2); see `lane_strips`.
        left_types, right_types: N names of `LINE_TYPES`.
        successors: rows of the lanes that follow each of the N lanes.
        crossings: strips of the pedestrian crossings.
        boundaries: (V, 2) lines at the edge of the road, closed ones end as they begin.
    """

    strips: Sequence[np.ndarray]
    left_types: Sequence[str]
    right_types: Sequence[str]
    successors: Sequence[Sequence[int]]
    crossings: Sequence[np.ndarray] = ()
    boundaries: Sequence[np.ndarray] = ()

    def around(self, global_from_ego: SE3, region: Region, points: int = 10, min_length_m: float = 1.0) -> LaneGraph:
        """The lane graph around a pose, float32 in its ego frame, at z = 0; the vehicle's tilt does not change it.

        A lane is cut where its centre line leaves the region; its sides end at the same places and may reach out of the
        region. Two lanes are connected if one follows the other and the region holds the place where they meet. A
        crossing is cut likewise and given as five points: its left side in walking direction, its right one backwards,
        and the first again, so the sides 0-1 and 2-3 are those along the way. Boundaries are cut at the region.

        Args:
            global_from_ego: the pose.
            region: x0, y0, x1, y1 [m], ego frame.
            points: on every line of a lane.
            min_length_m: what is cut shorter is left out.
        """
        x, y, _ = global_from_ego.translation.tolist()
        pose = SE3.about_z(global_from_ego.yaw, [x, y, 0.0])
        place = shapely.Polygon(region_corners(region, pose))
        lanes, owners = [], []
        for row in _near(self._lane_tree, place):
            for part, has_start, has_end in strips_inside(
                into_ego(self.strips[row], pose), region, points, min_length_m
            ):
                lanes.append(part)
                owners.append((row, has_start, has_end))
        crossings = [
            part[[0, 1, 1, 0, 0], [LEFT, LEFT, RIGHT, RIGHT, LEFT]]
            for row in _near(self._crossing_tree, place)
            for part, *_ in strips_inside(into_ego(self.crossings[row], pose), region, 2, min_length_m)
        ]
        edges = [
            part for row in _near(self._boundary_tree, place)
            for part in clip_line(into_ego(self.boundaries[row], pose), region)
        ]
        lines = _at_ground(np.stack(lanes) if lanes else np.zeros((0, points, 3, 2)))          # (N, points, 3, 3)
        return LaneGraph(
            centers=lines[:, :, CENTER],
            lefts=lines[:, :, LEFT],
            rights=lines[:, :, RIGHT],
            left_types=_types([self.left_types[row] for row, *_ in owners]),
            right_types=_types([self.right_types[row] for row, *_ in owners]),
            connections=self._connections(owners),
            areas=Polylines.from_lines([_at_ground(line) for line in (*crossings, *edges)], dim=3),
            area_labels=torch.tensor([CROSSING] * len(crossings) + [BOUNDARY] * len(edges), dtype=torch.int64),
        )

    def _connections(self, owners: Sequence[tuple[int, bool, bool]]) -> Tensor:
        """(N, N) float32 of parts of lanes: row, whether the part has the lane's beginning, whether it has its end."""
        connections = torch.zeros(len(owners), len(owners))
        beginning = {row: part for part, (row, has_start, _) in enumerate(owners) if has_start}
        for part, (row, _, has_end) in enumerate(owners):
            if has_end:
                for follower in self.successors[row]:
                    if follower in beginning:
                        connections[part, beginning[follower]] = 1.0
        return connections

    @cached_property
    def _lane_tree(self) -> shapely.STRtree:
        return _tree([strip[:, CENTER] for strip in self.strips])

    @cached_property
    def _crossing_tree(self) -> shapely.STRtree:
        return _tree([strip[:, CENTER] for strip in self.crossings])

    @cached_property
    def _boundary_tree(self) -> shapely.STRtree:
        return _tree(self.boundaries)


def _tree(lines: Sequence[np.ndarray]) -> shapely.STRtree:
    return shapely.STRtree([shapely.LineString(line) for line in lines])


def _near(tree: shapely.STRtree, place: shapely.Polygon) -> list[int]:
    """Rows that may meet a place, in the order of the map."""
    return np.sort(tree.query(place, predicate="intersects")).tolist()


def _at_ground(points: np.ndarray) -> Tensor:
    """(..., 2) -> (..., 3) float32 with z = 0."""
    return torch.nn.functional.pad(torch.from_numpy(points.astype(np.float32)), (0, 1))


def _types(names: Sequence[str]) -> Tensor:
    return torch.tensor([LINE_TYPES.index(name) for name in names], dtype=torch.int64)
