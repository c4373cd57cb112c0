"""The cheapest one-to-one assignment of queries to true elements.

Kuhn, "The Hungarian Method for the Assignment Problem", 1955; as Carion et al. use it in DETR, ECCV 2020, section 3.1.
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


@torch.no_grad()
def hungarian(cost: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of one query and one true element each whose costs have the least sum.

    Args:
        cost: (Q, G) finite cost of each pair; either side may be empty. It is solved on the CPU in float64.

    Returns:
        (M,) int64 rows, ascending, and (M,) int64 columns of the M = min(Q, G) pairs, on the device of ``cost``.

    Raises:
        ValueError: ``cost`` is not a matrix or holds a NaN or an infinity.
    """
    if cost.dim() != 2:
        raise ValueError(f"cost must be (Q, G), got {tuple(cost.shape)}")
    matrix = cost.detach().double().cpu()
    bad = int((~torch.isfinite(matrix)).sum())
    if bad:
        raise ValueError(f"cost must be finite, but {bad} of its {matrix.numel()} entries are NaN or infinite")
    rows, columns = linear_sum_assignment(matrix.numpy())
    return torch.from_numpy(rows).to(cost.device), torch.from_numpy(columns).to(cost.device)
