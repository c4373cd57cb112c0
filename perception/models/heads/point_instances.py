"""Instances of points by centres: things point to their middle, and share the one of the peaks that lies nearest.

As "Panoptic-DeepLab" (Cheng et al., CVPR 2020), section 3.2, in the bird's-eye view of "Panoptic-PolarNet" (Zhou et
al., CVPR 2021), section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from perception_ops import segment_reduce


def instance_centers(xy: Tensor, instances: Tensor) -> tuple[Tensor, Tensor]:
    """Where the instances of one frame are.

    Args:
        xy: (P, 2) places of points [m].
        instances: (P,) int64 instance of each, 0 for none.

    Returns:
        (I, 2) mean place of the points of each instance, in ascending order of their numbers; (P,) int64 row of each
        point's instance among them, -1 for none.
    """
    numbers, row = instances.unique(return_inverse=True)                               # ascending, 0 first if it occurs
    first = int((numbers == 0).sum())
    row = row - first
    has_one = row >= 0
    centers = segment_reduce(xy[has_one].contiguous(), row[has_one], len(numbers) - first, "mean")
    return centers, row


def heatmap_peaks(heatmap: Tensor, *, threshold: float, max_peaks: int, window: int = 3) -> Tensor:
    """Cells that exceed a threshold and are the largest of their window.

    Args:
        heatmap: (H, W) scores in [0, 1].
        threshold: a peak is above it.
        max_peaks: the best so many are kept.
        window: side of the window [cells], odd.

    Returns:
        (Q, 2) int64 column and row, best first.
    """
    largest = F.max_pool2d(heatmap[None, None], window, stride=1, padding=window // 2)[0, 0]
    cells = ((heatmap == largest) & (heatmap > threshold)).nonzero()                   # (Q, 2) row, column
    best = heatmap[cells[:, 0], cells[:, 1]].argsort(descending=True, stable=True)[:max_peaks]
    return cells[best].flip(1)


def group_by_centers(votes: Tensor, is_thing: Tensor, centers: Tensor, max_distance: float) -> Tensor:
    """Give each thing the nearest centre.

    Args:
        votes: (P, 2) where points say their middle is [m].
        is_thing: (P,) bool.
        centers: (Q, 2) [m].
        max_distance: a vote farther than this from every centre gets none [m].

    Returns:
        (P,) int64 number of the instance from 1 to the number of centres that got a point, 0 for none.
    """
    instances = torch.zeros(len(votes), dtype=torch.int64, device=votes.device)
    if not len(centers):
        return instances
    distance, nearest = torch.cdist(votes[is_thing], centers).min(dim=1)
    nearest = torch.where(distance <= max_distance, nearest + 1, 0)
    taken, number = nearest.unique(return_inverse=True)
    instances[is_thing] = number + int((taken != 0).all())                             # 0 stays 0, also if it is absent
    return instances


def majority_classes(classes: Tensor, instances: Tensor, num_classes: int) -> Tensor:
    """(P,) classes in which all points of an instance (P,), 0 for none, have the class that most of them had."""
    votes = classes.new_zeros(int(instances.max()) + 1 if len(instances) else 1, num_classes)
    votes.index_put_((instances, classes), torch.ones_like(classes), accumulate=True)
    return torch.where(instances > 0, votes.argmax(dim=1)[instances], classes)
