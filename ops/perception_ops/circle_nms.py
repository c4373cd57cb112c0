"""circle_nms: greedy non-maximum suppression by the distance of centres (CenterPoint, Yin et al., CVPR 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from .checks import FLOATING, check_device, check_finite, check_tensor, check_values
from .dispatch import NATIVE, attach_native, shared
from .suppression import best_first, greedy_survivors, native_scores, squared_distances

_PAIRS_AT_ONCE = 1 << 20


def circle_nms(centers: Tensor, scores: Tensor, squared_radius: float) -> Tensor:
    """Rows to keep, best first; a centre falls when a better kept one lies within the radius or on the circle.

    Args:
        centers: (K, 2) x, y, metres.
        scores: (K,), finite; of equal scores the lower row counts as better.
        squared_radius: square of the radius [m^2], >= 0: the published configs give the square.

    Returns:
        (J,) int64 rows of ``centers`` in descending score.

    Raises:
        ValueError: wrong shapes or dtypes, NaN or infinity, a negative radius.
    """
    check_tensor("centers", centers, ("K", 2), FLOATING)
    check_tensor("scores", scores, (centers.shape[0],), FLOATING)
    check_device("centers", centers, scores=scores)
    check_values("centers", centers)
    if not squared_radius >= 0.0:
        raise ValueError(f"squared_radius must be >= 0 m^2, got {squared_radius}")
    return torch.ops.perception.circle_nms(centers, scores, squared_radius)


def circle_nms_reference(centers: Tensor, scores: Tensor, squared_radius: float) -> Tensor:
    """The same in tensor algebra."""
    centers = centers.float()
    check_finite("centers", centers)
    check_finite("scores", scores)
    order = best_first(scores)
    ranked = centers[order]
    pairs = [order.new_empty(2, 0)]
    rows_at_once = max(_PAIRS_AT_ONCE // max(len(ranked), 1), 1)
    for start in range(0, len(ranked), rows_at_once):
        weaker = ranked[start:]                                                            # no pair looks back
        i, j = (squared_distances(weaker[:rows_at_once], weaker) <= squared_radius).nonzero(as_tuple=True)
        pairs.append(torch.stack([i, j])[:, i < j] + start)
    edges = torch.cat(pairs, 1)                                                            # (2, E)
    return order[greedy_survivors(edges[0], edges[1], len(order))]


def _circle_nms_cpu(centers: Tensor, scores: Tensor, squared_radius: float) -> Tensor:
    assert NATIVE is not None
    rows, kept = centers.detach().float().contiguous(), scores.new_empty(len(scores), dtype=torch.int64)
    survivors = NATIVE.circle_nms(
        shared(rows), shared(native_scores(scores)), squared_radius, shared(kept), torch.get_num_threads()
    )
    if survivors < 0:
        check_finite("centers", rows)                                     # one of the two says what is wrong
        check_finite("scores", scores)
    return kept[:survivors].clone()


_op = torch.library.custom_op("perception::circle_nms", circle_nms_reference, mutates_args=())
attach_native("circle_nms", _circle_nms_cpu)


@_op.register_fake
def _(centers: Tensor, scores: Tensor, squared_radius: float) -> Tensor:
    return centers.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)
