"""points_in_boxes: the box in which each point lies."""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import FLOATING, check_device, check_tensor
from .dispatch import NATIVE, attach_native
from .rotated_iou import turns

_PAIRS_AT_ONCE = 1 << 20


def points_in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """Index of the first box that holds a point, -1 where there is none; faces belong to the box.

    Args:
        points: (N, 3) x, y, z, metres; a NaN lies in no box.
        boxes: (K, 7) gravity centre x, y, z, length, width, height, yaw counter-clockwise, same frame.

    Returns:
        (N,) int64 in [-1, K).

    Raises:
        ValueError: wrong shapes or dtypes.
    """
    check_tensor("points", points, ("N", 3), FLOATING)
    check_tensor("boxes", boxes, ("K", 7), FLOATING)
    check_device("points", points, boxes=boxes)
    return torch.ops.perception.points_in_boxes(points, boxes)


def points_in_boxes_reference(points: Tensor, boxes: Tensor) -> Tensor:
    """The same in tensor algebra, some points at a time; at least float32."""
    dtype = torch.promote_types(torch.promote_types(points.dtype, boxes.dtype), torch.float32)
    points, boxes, K = points.to(dtype), boxes.to(dtype), len(boxes)
    found = [torch.empty(0, dtype=torch.int64, device=points.device)]
    numbers = torch.arange(K + 1, device=points.device)
    for part in points.split(max(_PAIRS_AT_ONCE // (K + 1), 1)):
        inside = torch.cat([_inside(part, boxes), numbers.new_ones(len(part), 1, dtype=torch.bool)], 1)
        found.append(torch.where(inside, numbers, K).amin(1))                              # K: in no box
    first = torch.cat(found)
    return torch.where(first == K, -1, first)


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """(n, 3), (K, 7) -> (n, K) bool."""
    x, y, z = (points[:, i, None] - boxes[:, i] for i in range(3))                         # (n, K) each
    cos, sin = boxes[:, 6].cos(), boxes[:, 6].sin()
    length, width, height = boxes[:, 3:6].unbind(1)
    along, across = cos * x + sin * y, cos * y - sin * x
    return (along.abs() <= length / 2) & (across.abs() <= width / 2) & (z.abs() <= height / 2)


def _points_in_boxes_cpu(points: Tensor, boxes: Tensor) -> Tensor:
    if torch.float64 in (points.dtype, boxes.dtype) or not bool(torch.isfinite(boxes).all()):
        return points_in_boxes_reference(points, boxes)                    # the kernel has a grid of finite boxes
    assert NATIVE is not None
    found = torch.empty(len(points), dtype=torch.int64)
    points, boxes = (rows.detach().float().contiguous() for rows in (points, boxes))
    NATIVE.points_in_boxes(points, boxes, turns(boxes[:, 6]), found, torch.get_num_threads())
    return found


_op = torch.library.custom_op("perception::points_in_boxes", points_in_boxes_reference, mutates_args=())
attach_native(_op, "points_in_boxes", _points_in_boxes_cpu)


@_op.register_fake
def _(points: Tensor, boxes: Tensor) -> Tensor:
    return points.new_empty(points.shape[0], dtype=torch.int64)
