"""points_in_boxes on a GPU."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from ..dispatch import attach_cuda
from ..points_in_boxes import points_in_boxes_reference
from ..rotated_iou import turns


def points_in_boxes(kernels: ModuleType, stream: int, points: Tensor, boxes: Tensor) -> Tensor:
    """`points_in_boxes_reference` in one launch, without the table of points and boxes."""
    if torch.float64 in (points.dtype, boxes.dtype):
        return points_in_boxes_reference(points, boxes)
    points, boxes = (rows.detach().float().contiguous() for rows in (points, boxes))
    found = torch.empty(len(points), dtype=torch.int64, device=points.device)
    kernels.points_in_boxes(points, boxes, turns(boxes[:, 6]), found, stream)
    return found


attach_cuda("points_in_boxes", points_in_boxes)
