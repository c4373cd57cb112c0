"""Cross entropy over cells, of places that may lie outside all of them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from perception.models.losses.normalizers import sum_over_ranks, world_size

UNKNOWN = -1


def known_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy of the rows whose label is known; 0 if there is none. The mean is that over all processes.

    With smoothing e, a row's target is 1 - e for its label and e / C more for each of the C classes.

    Args:
        logits: (B, C).
        labels: (B,) int64 in [0, C), or -1.
        smoothing: e in [0, 1).

    Returns:
        () float32.
    """
    total = F.cross_entropy(
        logits.float(), labels, ignore_index=UNKNOWN, reduction="sum", label_smoothing=smoothing
    )
    count = sum_over_ranks((labels != UNKNOWN).sum())
    return total * world_size() / count.clamp(min=1)
