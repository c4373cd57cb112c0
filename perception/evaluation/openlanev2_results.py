"""Predicted lanes of a whole test as one JSON file, with the fields of OpenLane-V2's submission.

``{"results": {TOKEN: {"predictions": {"lane_segment": [...], "area": [...], "traffic_element": [],
"topology_lsls": [...], "topology_lste": [...]}}}}``; metres in the ego frame.
The benchmark itself takes the same content pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perception.atomic_write import write_json
from perception.errors import DataError
from perception.structures import LaneGraph, Polylines

LINES = {"centers": "centerline", "lefts": "left_laneline", "rights": "right_laneline"}
TYPES = {"left_types": "left_laneline_type", "right_types": "right_laneline_type"}
FIRST_CATEGORY = 1                                         # of ped_crossing; ours count from 0
DECIMALS = 6


def write_openlanev2_results(predictions: Mapping[str, LaneGraph], path: Path | str) -> Path:
    """Write the lanes and areas of each frame; the file appears whole or not at all.

    Raises:
        ValueError: a frame's lanes or areas have no scores.
    """
    return write_json(
        path, {"results": {token: {"predictions": _rows(token, graph)} for token, graph in predictions.items()}},
        indent=None,
    )


def read_openlanev2_results(path: Path | str) -> dict[str, LaneGraph]:
    """The lane graphs by frame token, float64.

    Raises:
        DataError: the file is absent or malformed (the frame is named).
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(path, "file", "a JSON file of OpenLane-V2 results", error) from error
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise DataError(path, "results", "predictions by frame token", "none")
    graphs = {}
    for token, frame in content["results"].items():
        try:
            graphs[token] = _graph(frame["predictions"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(path, f"results {token}", "predictions of OpenLane-V2", repr(error)) from error
    return graphs


def _rows(token: str, graph: LaneGraph) -> dict[str, Any]:
    if graph.scores is None or graph.area_scores is None:
        raise ValueError(f"predictions of {token!r} must have scores and area_scores, got None")
    lanes: dict[str, list[Any]] = {name: _rounded(getattr(graph, ours)) for ours, name in LINES.items()}
    lanes |= {name: getattr(graph, ours).tolist() for ours, name in TYPES.items()}
    lanes |= {"id": list(range(len(graph))), "confidence": graph.scores.tolist()}
    areas: dict[str, list[Any]] = {
        "id": list(range(len(graph.areas))),
        "points": [_rounded(line) for line in graph.areas],
        "category": (graph.area_labels + FIRST_CATEGORY).tolist(),
        "confidence": graph.area_scores.tolist(),
    }
    return {
        "lane_segment": _records(lanes),
        "area": _records(areas),
        "traffic_element": [],
        "topology_lsls": graph.connections.tolist(),
        "topology_lste": [[] for _ in range(len(graph))],
    }


def _records(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _rounded(points: Tensor) -> list[Any]:
    return points.double().round(decimals=DECIMALS).tolist()


def _graph(predictions: Mapping[str, Any]) -> LaneGraph:
    lanes, areas = predictions["lane_segment"], predictions["area"]
    lines = {
        ours: _tensor([lane[name] for lane in lanes]) if lanes else torch.zeros(0, 10, 3, dtype=torch.float64)
        for ours, name in LINES.items()
    }
    types = {ours: torch.tensor([lane[name] for lane in lanes], dtype=torch.int64) for ours, name in TYPES.items()}
    return LaneGraph(
        **lines, **types,
        connections=_tensor(predictions["topology_lsls"]).reshape(len(lanes), len(lanes)),
        areas=Polylines.from_lines([_tensor(area["points"]) for area in areas], dim=3),
        area_labels=torch.tensor([area["category"] - FIRST_CATEGORY for area in areas], dtype=torch.int64),
        scores=_tensor([lane["confidence"] for lane in lanes]),
        area_scores=_tensor([area["confidence"] for area in areas]),
    )


def _tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
