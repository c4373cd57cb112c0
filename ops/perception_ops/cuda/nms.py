"""rotated_nms and circle_nms on a GPU: the order of the scores from torch, the suppressions from one launch, the greedy
scan from another.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from torch import Tensor

from ..checks import check_finite
from ..circle_nms import circle_nms_reference
from ..dispatch import attach_cuda, workspace
from ..rotated_iou import checked_boxes, turns
from ..rotated_nms import rotated_nms_reference
from ..suppression import best_first

_MOST_RANKS = 1 << 15    # 128 MiB of bits, one for each pair


def rotated_nms(kernels: ModuleType, stream: int, boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """`rotated_nms_reference`; waits for the device to learn how many boxes are kept, as the reference does."""
    if len(boxes) > _MOST_RANKS:
        return rotated_nms_reference(boxes, scores, threshold)
    rows = checked_boxes("boxes", boxes).contiguous()

    def scan(order: Tensor, *outputs: Tensor) -> None:
        kernels.rotated_nms(rows, turns(rows[:, 4]), order, threshold, *outputs, stream)

    return _survivors(kernels, scores, scan)


def circle_nms(kernels: ModuleType, stream: int, centers: Tensor, scores: Tensor, squared_radius: float) -> Tensor:
    """`circle_nms_reference`; waits likewise."""
    if len(centers) > _MOST_RANKS:
        return circle_nms_reference(centers, scores, squared_radius)
    rows = centers.detach().float().contiguous()
    check_finite("centers", rows)

    def scan(order: Tensor, *outputs: Tensor) -> None:
        kernels.circle_nms(rows, order, squared_radius, *outputs, stream)

    return _survivors(kernels, scores, scan)


def _survivors(kernels: ModuleType, scores: Tensor, scan: Callable[..., None]) -> Tensor:
    """Calls ``scan(order, kept, num_kept, workspace)`` and gives the kept rows."""
    check_finite("scores", scores)
    order = best_first(scores.detach())
    kept, num_kept = order.new_empty(len(order)), order.new_empty(1)
    scan(order, kept, num_kept, workspace(kernels.suppression_workspace(len(order)), order.device))
    return kept[: int(num_kept)].clone()


attach_cuda("rotated_nms", rotated_nms)
attach_cuda("circle_nms", circle_nms)
