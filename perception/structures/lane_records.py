"""A lane graph as plain JSON values, and back."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .polylines import Polylines
from .vector_map import LaneGraph

DIGITS = 4                                                 # of lengths [m]
SURENESS_DIGITS = 6


def rounded(values: Tensor, digits: int = DIGITS) -> list[Any]:
    """A tensor as nested lists of short numbers; one that is not finite is None."""
    return _rounded(values.tolist(), digits)


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, list):
        return [_rounded(part, digits) for part in value]
    return round(value, digits) if math.isfinite(value) else None


def lane_record(lanes: LaneGraph) -> dict[str, Any]:
    """The fields of a lane graph; ``connections`` are rows (from, to, how sure), those of no sureness left out."""
    pairs = lanes.connections.nonzero()                                                   # (E, 2)
    sure = rounded(lanes.connections[pairs[:, 0], pairs[:, 1]], SURENESS_DIGITS)          # E numbers
    record: dict[str, Any] = {
        "centers": rounded(lanes.centers), "lefts": rounded(lanes.lefts), "rights": rounded(lanes.rights),
        "left_types": lanes.left_types.tolist(), "right_types": lanes.right_types.tolist(),
        "connections": [[*pair, value] for pair, value in zip(pairs.tolist(), sure, strict=True)],
        "areas": [rounded(area) for area in lanes.areas], "area_labels": lanes.area_labels.tolist(),
    }
    for name in ("scores", "area_scores"):
        values = getattr(lanes, name)
        record[name] = None if values is None else rounded(values, SURENESS_DIGITS)
    return record


def lane_graph_of(record: dict[str, Any]) -> LaneGraph:
    """What `lane_record` was given, to its rounding; without any lane there are no points a line either (0, 0, 3).

    Raises:
        KeyError, TypeError, ValueError, IndexError: a field is absent or malformed.
    """
    rows = record["centers"]
    centers = torch.tensor(rows, dtype=torch.float32).reshape(len(rows), len(rows[0]) if rows else 0, 3)
    connections = torch.zeros(len(centers), len(centers))
    for first, second, sure in record["connections"]:
        connections[first, second] = sure
    return LaneGraph(
        centers=centers,
        lefts=torch.tensor(record["lefts"], dtype=torch.float32).reshape(centers.shape),
        rights=torch.tensor(record["rights"], dtype=torch.float32).reshape(centers.shape),
        left_types=torch.tensor(record["left_types"], dtype=torch.int64),
        right_types=torch.tensor(record["right_types"], dtype=torch.int64),
        connections=connections,
        areas=Polylines.from_lines([torch.tensor(area, dtype=torch.float32) for area in record["areas"]], dim=3),
        area_labels=torch.tensor(record["area_labels"], dtype=torch.int64),
        scores=_scores(record["scores"]),
        area_scores=_scores(record["area_scores"]),
    )


def _scores(values: list[float] | None) -> Tensor | None:
    return None if values is None else torch.tensor(values, dtype=torch.float32)
