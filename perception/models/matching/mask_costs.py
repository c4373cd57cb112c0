"""Costs of giving a query's mask to a true one: how wrong its cells are, and how little the two overlap.

Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation", CVPR 2022, section 3.4.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def mask_entropy_cost(logits: Tensor, masks: Tensor) -> Tensor:
    """(Q, P) logits and (G, P) masks in [0, 1] of P cells -> (Q, G) mean binary cross entropy."""
    return (F.softplus(logits).sum(dim=1)[:, None] - logits @ masks.T) / logits.shape[1]


def dice_cost(values: Tensor, masks: Tensor) -> Tensor:
    """(Q, P) values and (G, P) masks of P cells -> (Q, G) one minus the dice coefficient, eps 1."""
    return 1 - (2 * values @ masks.T + 1) / (values.sum(dim=1)[:, None] + masks.sum(dim=1)[None] + 1)
