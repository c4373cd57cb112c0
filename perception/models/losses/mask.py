"""Losses between masks, and the points at which large masks are compared.

Points are chosen as in "PointRend: Image Segmentation as Rendering" (Kirillov et al., CVPR 2020), section 3.1, and used
as in "Masked-attention Mask Transformer for Universal Image Segmentation" (Cheng et al., CVPR 2022), section 3.3.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def mask_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """(M, P) logits and (M, P) masks in [0, 1] of P cells -> (M,) mean binary cross entropy."""
    return F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean(dim=1)


def dice_loss(scores: Tensor, masks: Tensor) -> Tensor:
    """(M, P) scores in [0, 1] and (M, P) masks of P cells -> (M,) one minus the dice coefficient, eps 1."""
    return 1 - (2 * (scores * masks).sum(dim=1) + 1) / (scores.sum(dim=1) + masks.sum(dim=1) + 1)


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Read maps at points, bilinearly and with zeros beyond the border.

    Args:
        maps: (N, C, H, W) floating.
        points: (N, P, 2) x, y in [0, 1] of the width and the height; cell centres lie at half-integers.

    Returns:
        (N, C, P).
    """
    grid = (2.0 * points - 1.0)[:, :, None].to(maps.dtype)                          # (N, P, 1, 2)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[..., 0]


def most_uncertain(logits: Tensor, points: Tensor, count: int) -> Tensor:
    """Those of the candidate points at which a mask is least sure of itself.

    Args:
        logits: (M, H, W) of M masks.
        points: (M, R, 2) candidates of each mask, as `sample_points` takes them.
        count: how many to keep, at most R.

    Returns:
        (M, count, 2) points with the least absolute logits.
    """
    sureness = sample_points(logits.detach()[:, None], points)[:, 0].abs()          # (M, R)
    kept = sureness.topk(count, dim=1, largest=False, sorted=False).indices
    return points.gather(1, kept[:, :, None].expand(-1, -1, 2))
