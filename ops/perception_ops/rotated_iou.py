"""rotated_iou_bev: intersection over union of rotated rectangles seen from above.

The intersection area is a line integral (Green's theorem): with rectangle b axis-aligned at the origin, the area of
a inside b is the integral over a's outline of (clamp(x, -l/2, l/2) + l/2) dy, taken where |y| <= w/2. Each edge gives
at most three trapezoids, so there is no vertex list, no sort, and no case that depends on rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import torch
from torch import Tensor

from .checks import FLOATING, check_device, check_finite, check_tensor
from .dispatch import NATIVE, attach_native
from .suppression import squared_distances

_FLOOR = 1e-8              # smallest denominator
_PAIRS_AT_ONCE = 1 << 17   # about 60 MB of temporaries where all of them touch


def rotated_iou_bev(a: Tensor, b: Tensor) -> Tensor:
    """IoU of every pair, without gradient, in float32 whatever the inputs or autocast say.

    Args:
        a: (K, 5) x, y, length, width, yaw: metres and radians, length along the box's own x axis, yaw
            counter-clockwise, sizes >= 0.
        b: (L, 5), likewise.

    Returns:
        (K, L) float32 in [0, 1]; two boxes without area give 0.

    Raises:
        ValueError: wrong shape or dtype, NaN, infinity or a negative size.
    """
    check_tensor("a", a, ("K", 5), FLOATING)
    check_tensor("b", b, ("L", 5), FLOATING)
    check_device("a", a, b=b)
    return torch.ops.perception.rotated_iou_bev(a, b)


def rotated_iou_bev_aligned(a: Tensor, b: Tensor) -> Tensor:
    """IoU of row i with row i: (K, 5), (K, 5) -> (K,) float32; see `rotated_iou_bev`."""
    check_tensor("a", a, ("K", 5), FLOATING)
    check_tensor("b", b, (a.shape[0], 5), FLOATING)
    check_device("a", a, b=b)
    return torch.ops.perception.rotated_iou_bev_aligned(a, b)


def rotated_iou_bev_reference(a: Tensor, b: Tensor) -> Tensor:
    """The same in tensor algebra; pairs that lie too far apart to touch are not computed."""
    a, b = checked_boxes("a", a), checked_boxes("b", b)
    iou = a.new_zeros(len(a), len(b))                                                      # (K, L)
    for i, j in near_pairs(a, b):
        iou[i, j] = iou_of_pairs(a[i], b[j])
    return iou


def rotated_iou_bev_aligned_reference(a: Tensor, b: Tensor) -> Tensor:
    """The same in tensor algebra."""
    return iou_of_pairs(checked_boxes("a", a), checked_boxes("b", b))


def iou_of_pairs(a: Tensor, b: Tensor) -> Tensor:
    """IoU of row i with row i of boxes that are known to be finite float32: (K, 5), (K, 5) -> (K,)."""
    area_a, area_b = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]                                  # (K,)
    overlap = intersection_area(a, b).clamp(min=0).minimum(area_a).minimum(area_b)
    return overlap / (area_a + area_b - overlap).clamp(min=_FLOOR)


def near_pairs(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Index pairs (i, j) of boxes whose circumscribed circles touch, in chunks that bound the memory, i ascending."""
    reach_a, reach_b = ((x[:, 2].square() + x[:, 3].square()).sqrt() / 2 for x in (a, b))  # (K,), (L,)
    rows_at_once = max(_PAIRS_AT_ONCE // max(len(b), 1), 1)
    for start in range(0, len(a), rows_at_once):
        rows = slice(start, start + rows_at_once)
        touching = (reach_a[rows, None] + reach_b).square_()                               # (rows, L)
        i, j = (squared_distances(a[rows], b) <= touching).nonzero(as_tuple=True)
        yield i + start, j


def checked_boxes(name: str, boxes: Tensor) -> Tensor:
    """The boxes in float32, after a look at the values, so it belongs inside an op.

    Raises:
        ValueError: NaN, infinity (a float64 beyond float32 becomes one) or a negative size.
    """
    boxes = boxes.detach().float()
    check_finite(name, boxes)
    is_negative = (boxes[:, 2:4] < 0).any(1)
    if bool(is_negative.any()):
        row = int(is_negative.nonzero()[0])
        raise ValueError(f"{name} must have sizes >= 0, row {row} is {boxes[row].tolist()}")
    return boxes


def native_boxes(name: str, boxes: Tensor) -> Tensor:
    """As `checked_boxes`, contiguous; the look at the values is the kernels' own, in one pass."""
    assert NATIVE is not None
    rows = boxes.detach().float().contiguous()
    return rows if NATIVE.are_bev_boxes(rows) else checked_boxes(name, boxes)


def turns(yaw: Tensor) -> Tensor:
    """Cosine and sine of each angle: (K,) -> (K, 2). Kernels are handed torch's, as each library rounds its own."""
    return torch.stack([yaw.cos(), yaw.sin()], 1)


def intersection_area(a: Tensor, b: Tensor) -> Tensor:
    """Square metres of rectangle a inside rectangle b, row by row: (K, 5), (K, 5) -> (K,), in their own dtype."""
    half_x, half_y = b[:, 2, None] / 2, b[:, 3, None] / 2                                  # (K, 1)
    corners = _corners_seen_from(a, b)                                                     # (K, 4, 2)
    x, y = corners.unbind(2)                                                               # (K, 4) start of each edge
    dx, dy = (corners.roll(-1, 1) - corners).unbind(2)
    enter, leave = _crossings(y, dy, half_y)                                               # within b's strip |y| <= w/2
    enter, leave = enter.clamp(0, 1), leave.clamp(0, 1)
    left, right = _crossings(x, dx, half_x)
    stops = torch.stack([enter, left.clamp(enter, leave), right.clamp(enter, leave), leave])   # (4, K, 4) ascending
    reach = (x + stops * dx).clamp(-half_x, half_x) + half_x                               # linear between stops
    mean = (reach[1:] + reach[:-1]) / 2
    return _sum_in_order(_sum_in_order((stops[1:] - stops[:-1]) * mean, 0) * dy, 1)


def _sum_in_order(parts: Tensor, dim: int) -> Tensor:
    """Sum along a short dimension from its start to its end, as the kernels add: `Tensor.sum` promises no order."""
    return reduce(torch.add, parts.unbind(dim))


def _corners_seen_from(a: Tensor, b: Tensor) -> Tensor:
    """Corners of a, counter-clockwise, in the frame of b: (K, 4, 2)."""
    cos_a, sin_a, cos_b, sin_b = a[:, 4].cos(), a[:, 4].sin(), b[:, 4].cos(), b[:, 4].sin()
    cos, sin = cos_a * cos_b + sin_a * sin_b, sin_a * cos_b - cos_a * sin_b    # of the turn; a large yaw loses nothing
    signs = a.new_tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
    local = signs * a[:, None, 2:4]                                                        # (K, 4, 2)
    centre = _turned((a[:, :2] - b[:, :2])[:, None], cos_b, -sin_b)
    return _turned(local, cos, sin) + centre


def _turned(xy: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(K, n, 2) turned counter-clockwise by an angle each, whose cosine and sine are (K,)."""
    cos, sin = cos[:, None], sin[:, None]
    x, y = xy.unbind(2)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], 2)


def _crossings(start: Tensor, step: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Where start + t step meets -half and +half, as ascending t; far away for an edge parallel to the border."""
    step = torch.where(step.abs() < _FLOOR, _FLOOR, step)
    first, second = (-half - start) / step, (half - start) / step
    return torch.minimum(first, second), torch.maximum(first, second)


def _rotated_iou_bev_cpu(a: Tensor, b: Tensor) -> Tensor:
    assert NATIVE is not None
    a, b = native_boxes("a", a), native_boxes("b", b)
    iou = a.new_empty(len(a), len(b))
    NATIVE.rotated_iou_bev(a, turns(a[:, 4]), b, turns(b[:, 4]), iou, torch.get_num_threads())
    return iou


def _rotated_iou_bev_aligned_cpu(a: Tensor, b: Tensor) -> Tensor:
    assert NATIVE is not None
    a, b = native_boxes("a", a), native_boxes("b", b)
    iou = a.new_empty(len(a))
    NATIVE.rotated_iou_bev_aligned(a, turns(a[:, 4]), b, turns(b[:, 4]), iou, torch.get_num_threads())
    return iou


_pairwise = torch.library.custom_op("perception::rotated_iou_bev", rotated_iou_bev_reference, mutates_args=())
_aligned = torch.library.custom_op(
    "perception::rotated_iou_bev_aligned", rotated_iou_bev_aligned_reference, mutates_args=()
)
attach_native("rotated_iou_bev", _rotated_iou_bev_cpu)
attach_native("rotated_iou_bev_aligned", _rotated_iou_bev_aligned_cpu)


@_pairwise.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[0], dtype=torch.float32)


@_aligned.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(a.shape[0], dtype=torch.float32)
