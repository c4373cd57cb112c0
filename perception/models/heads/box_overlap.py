"""Overlap of upright boxes in three dimensions."""

from __future__ import annotations

import torch
from torch import Tensor

from perception_ops import rotated_iou_bev_aligned

BEV_COLUMNS = [0, 1, 3, 4, 6]                        # x, y, length, width, yaw of a Boxes3D row


def aligned_iou_3d(a: Tensor, b: Tensor, *, raised: bool = False) -> Tensor:
    """(K,) 3-D IoU of boxes (K, 7) with boxes (K, 7), row by row; x y z l w h yaw, gravity centre.

    Args:
        a: the first boxes.
        b: the second boxes.
        raised: compare heights as the intervals [z, z + h] of centre z, as the authors of FlatFormer do (their box type
            takes the centre for the bottom); it differs from the true overlap where heights differ.
    """
    iou_bev = rotated_iou_bev_aligned(a[:, BEV_COLUMNS].contiguous(), b[:, BEV_COLUMNS].contiguous())
    area_a, area_b = a[:, 3] * a[:, 4], b[:, 3] * b[:, 4]
    overlap = iou_bev * (area_a + area_b) / (1 + iou_bev)                                # (K,) area of the intersection
    bottom_a = a[:, 2] if raised else a[:, 2] - a[:, 5] / 2
    bottom_b = b[:, 2] if raised else b[:, 2] - b[:, 5] / 2
    height = torch.minimum(bottom_a + a[:, 5], bottom_b + b[:, 5]) - torch.maximum(bottom_a, bottom_b)
    shared = overlap * height.clamp(min=0)
    return shared / (area_a * a[:, 5] + area_b * b[:, 5] - shared).clamp(min=1e-8)
