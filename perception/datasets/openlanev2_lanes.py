"""OpenLane-V2's annotations of lane segments and areas as a `LaneGraph`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..structures import LaneGraph, Polylines
from ..structures.polylines import resample_line
from ..structures.vector_map import AREA_CLASSES, LINE_TYPES

AREA_CATEGORIES = {1: "ped_crossing", 2: "road_boundary"}


def lane_graph_of(annotation: Mapping[str, Any], points: int = 10) -> LaneGraph:
    """The lane graph of one frame's annotation (map element bucket), float32.

    Lines are resampled evenly by their length in the xy plane; areas stay as annotated: crossings keep their corners.

    Args:
        annotation: ``lane_segment``, ``area`` and ``topology_lsls`` as the files have them, vehicle frame, metres.
        points: on every line of a lane; 10 in the official preprocessing.

    Raises:
        ValueError: a line, type, category or the topology is malformed (says which).
        KeyError: a field is absent.
    """
    segments, areas = annotation["lane_segment"], annotation["area"]
    topology = torch.tensor(annotation["topology_lsls"], dtype=torch.float32)
    size = len(segments)
    if topology.numel() != size * size:
        raise ValueError(f"topology_lsls must be ({size}, {size}), got {tuple(topology.shape)}")
    outlines = [_line(area["points"], f"points of area {area['id']}").float() for area in areas]
    return LaneGraph(
        centers=_resampled(segments, "centerline", points),
        lefts=_resampled(segments, "left_laneline", points),
        rights=_resampled(segments, "right_laneline", points),
        left_types=_line_types(segments, "left_laneline_type"),
        right_types=_line_types(segments, "right_laneline_type"),
        connections=topology.view(size, size),
        areas=Polylines.from_lines(outlines, dim=3),
        area_labels=torch.tensor([_area_label(area) for area in areas], dtype=torch.int64),
    )


def _line(points: Any, name: str) -> Tensor:
    """(V, 3) float64."""
    line = torch.tensor(points, dtype=torch.float64)
    if line.dim() != 2 or line.shape[1] != 3 or not len(line) or not torch.isfinite(line).all():
        raise ValueError(f"{name} must be finite (n, 3), got {tuple(line.shape)}")
    return line


def _resampled(segments: Sequence[Mapping[str, Any]], name: str, points: int) -> Tensor:
    """(N, points, 3) float32 of one of the lines of all segments."""
    lines = [_line(segment[name], f"{name} of lane segment {segment['id']}") for segment in segments]
    return torch.stack([resample_line(line, points) for line in lines]).float() if lines else torch.zeros(0, points, 3)


def _line_types(segments: Sequence[Mapping[str, Any]], name: str) -> Tensor:
    for segment in segments:
        if segment[name] not in range(len(LINE_TYPES)):
            raise ValueError(f"{name} of lane segment {segment['id']} must be 0, 1 or 2, got {segment[name]}")
    return torch.tensor([segment[name] for segment in segments], dtype=torch.int64)


def _area_label(area: Mapping[str, Any]) -> int:
    if area["category"] not in AREA_CATEGORIES:
        raise ValueError(f"category of area {area['id']} must be 1 or 2, got {area['category']}")
    return AREA_CLASSES.index(AREA_CATEGORIES[area["category"]])
