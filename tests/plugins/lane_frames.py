"""Frames with a known lane graph and navigation map, for the tests of lane heads."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.structures import Frame, LaneGraph, Polylines, SDMap

RANGE = (-20.0, -10.0, -2.0, 20.0, 10.0, 2.0)


def straight(start: tuple[float, float], end: tuple[float, float], points: int = 10) -> Tensor:
    """(points, 3) from start to end at height 0."""
    share = torch.linspace(0, 1, points)[:, None]
    return torch.cat([torch.lerp(torch.tensor(start), torch.tensor(end), share), torch.zeros(points, 1)], dim=1)


def lane_graph() -> LaneGraph:
    """Two lanes that lead forward, the second one following the first, and a crossing of 3 m by 8 m ahead of them."""
    lines = [
        torch.stack([straight((x, y), (x + 10, y)) for x in (-10.0, 0.0)]) for y in (-1.5, 0.25, -3.25)
    ]
    crossing = torch.tensor([[12.0, -4, 0], [12, 4, 0], [15, 4, 0], [15, -4, 0], [12, -4, 0]])
    edge = torch.tensor([[-20.0, 6, 0], [20, 6, 0]])
    return LaneGraph(
        *lines, left_types=torch.tensor([2, 1]), right_types=torch.tensor([1, 0]),
        connections=torch.tensor([[0.0, 1.0], [0.0, 0.0]]), areas=Polylines.from_lines([crossing, edge]),
        area_labels=torch.tensor([0, 1]),
    )


def lane_frame(token: str = "frame-0", graph: LaneGraph | None = None) -> Frame:
    """A frame with `lane_graph`, or another one."""
    return Frame(token, 0, lane_graph=lane_graph() if graph is None else graph)


def no_lanes() -> LaneGraph:
    """A place without lanes and areas."""
    none = torch.zeros(0, 10, 3)
    types = torch.zeros(0, dtype=torch.int64)
    return LaneGraph(none, none, none, types, types, torch.zeros(0, 0))


def sd_map(*roads: list[list[float]], lanes: int = 0, category: int = 0, right_hand: bool = True) -> SDMap:
    """A navigation map of lines of one category."""
    lines = Polylines.from_lines([torch.tensor(road, dtype=torch.float32) for road in roads])
    count = len(roads)
    return SDMap(lines, torch.full((count,), category), torch.full((count,), lanes), right_hand)
