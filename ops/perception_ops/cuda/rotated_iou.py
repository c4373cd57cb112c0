"""rotated_iou_bev and rotated_iou_bev_aligned on a GPU."""

from __future__ import annotations

from types import ModuleType

from torch import Tensor

from ..dispatch import attach_cuda
from ..rotated_iou import checked_boxes, turns


def rotated_iou_bev(kernels: ModuleType, stream: int, a: Tensor, b: Tensor) -> Tensor:
    """`rotated_iou_bev_reference` in one launch."""
    a, b = checked_boxes("a", a).contiguous(), checked_boxes("b", b).contiguous()
    iou = a.new_empty(len(a), len(b))
    kernels.rotated_iou_bev(a, turns(a[:, 4]), b, turns(b[:, 4]), iou, stream)
    return iou


def rotated_iou_bev_aligned(kernels: ModuleType, stream: int, a: Tensor, b: Tensor) -> Tensor:
    """`rotated_iou_bev_aligned_reference` in one launch."""
    a, b = checked_boxes("a", a).contiguous(), checked_boxes("b", b).contiguous()
    iou = a.new_empty(len(a))
    kernels.rotated_iou_bev_aligned(a, turns(a[:, 4]), b, turns(b[:, 4]), iou, stream)
    return iou


attach_cuda("rotated_iou_bev", rotated_iou_bev)
attach_cuda("rotated_iou_bev_aligned", rotated_iou_bev_aligned)
