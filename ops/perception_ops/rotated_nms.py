"""rotated_nms: greedy non-maximum suppression by the IoU of rotated rectangles seen from above."""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import FLOATING, check_device, check_finite, check_tensor, check_values
from .dispatch import NATIVE, attach_native, shared
from .rotated_iou import checked_boxes, iou_of_pairs, near_pairs, turns
from .suppression import best_first, greedy_survivors, native_scores

_RANKS_AT_ONCE = 256


def rotated_nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Rows to keep, best first; a box falls when its IoU with a better kept one is above the threshold.

    Args:
        boxes: (K, 5) x, y, length, width, yaw; see `rotated_iou_bev`.
        scores: (K,), finite; of equal scores the lower row counts as better.
        threshold: IoU in [0, 1].

    Returns:
        (J,) int64 rows of ``boxes`` in descending score.

    Raises:
        ValueError: wrong shapes or dtypes, NaN, infinity or a negative size, a threshold outside [0, 1].
    """
    check_tensor("boxes", boxes, ("K", 5), FLOATING)
    check_tensor("scores", scores, (boxes.shape[0],), FLOATING)
    check_device("boxes", boxes, scores=scores)
    check_values("boxes", boxes)
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must lie in [0, 1], got {threshold}")
    return torch.ops.perception.rotated_nms(boxes, scores, threshold)


def rotated_nms_reference(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """The same in tensor algebra; memory grows with the pairs that are near, not with K squared."""
    boxes = checked_boxes("boxes", boxes)
    check_finite("scores", scores)
    order = best_first(scores)
    ranked = boxes[order]
    pairs = [order.new_empty(2, 0)]
    for start in range(0, len(ranked), _RANKS_AT_ONCE):
        weaker = ranked[start:]                                                            # no pair looks back
        for i, j in near_pairs(weaker[:_RANKS_AT_ONCE], weaker):
            pairs.append(_overlapping(weaker, i, j, threshold) + start)
    edges = torch.cat(pairs, 1)                                                            # (2, E)
    return order[greedy_survivors(edges[0], edges[1], len(order))]


def _overlapping(ranked: Tensor, i: Tensor, j: Tensor, threshold: float) -> Tensor:
    """(2, E): the pairs with i the better one and an IoU above the threshold."""
    ahead = i < j
    i, j = i[ahead], j[ahead]
    above = iou_of_pairs(ranked[i], ranked[j]) > threshold
    return torch.stack([i[above], j[above]])


def _rotated_nms_cpu(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    assert NATIVE is not None
    rows, kept = boxes.detach().float().contiguous(), scores.new_empty(len(scores), dtype=torch.int64)
    survivors = NATIVE.rotated_nms(
        *map(shared, (rows, turns(rows[:, 4]), native_scores(scores))), threshold, shared(kept), torch.get_num_threads()
    )
    if survivors < 0:
        checked_boxes("boxes", boxes)                                     # one of the two says what is wrong
        check_finite("scores", scores)
    return kept[:survivors].clone()


_op = torch.library.custom_op("perception::rotated_nms", rotated_nms_reference, mutates_args=())
attach_native("rotated_nms", _rotated_nms_cpu)


@_op.register_fake
def _(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)
