"""Keypoints: the few points that stand for a polyline between the detector and the generator.

VectorMapNet (Liu et al., ICML 2023), section 3.3 and the ablation of table 4.
"""

from __future__ import annotations

import shapely
import torch
from torch import Tensor

from perception.structures.polylines import resample_line

MIN_SIDE = 0.02                                      # of the canvas' sides: 4 of 200 cells
ARC_SEGMENTS = 16                                    # of a quarter circle, when a thin box is widened
NUM_KEYPOINTS = {"box": 2, "start_middle_end": 3, "extreme": 4}


def keypoints_of(line: Tensor, kind: str) -> Tensor:
    """Keypoints of one line.

    Args:
        line: (V, 2) float64 in [0, 1].
        kind: "box": lower and upper corner of the bounds, whose sides are at least about 0.02; "start_middle_end": both
            ends and the point half way along; "extreme": the vertices of least x, greatest x, least y, greatest y.

    Returns:
        (2, 3 or 4, 2) in [0, 1].

    Raises:
        ValueError: the kind is unknown.
    """
    if kind == "box":
        return _bounds(line)
    if kind == "start_middle_end":
        return resample_line(line, 3)
    if kind == "extreme":
        low, high = line.argmin(dim=0), line.argmax(dim=0)
        return line[torch.stack([low[0], high[0], low[1], high[1]])]
    raise ValueError(f"kind must be one of {', '.join(NUM_KEYPOINTS)}, got {kind!r}")


def _bounds(line: Tensor) -> Tensor:
    """(2, 2) bounds; if one side is short, those of the line thickened by half of what is missing."""
    bounds = torch.stack([line.amin(dim=0), line.amax(dim=0)])
    short = MIN_SIDE - float((bounds[1] - bounds[0]).min())
    if short <= 0:
        return bounds
    if bool((bounds[0] == bounds[1]).all()):
        shape = shapely.Point(line[0].tolist())
    else:
        shape = shapely.LineString(line.tolist())
    thick = shapely.buffer(shape, short / 2, quad_segs=ARC_SEGMENTS).bounds
    return line.new_tensor(thick).view(2, 2).clamp(0.0, 1.0)
