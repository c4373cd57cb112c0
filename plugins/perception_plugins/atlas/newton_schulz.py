"""The orthogonal part of matrices, nearly, by a few products (Muon, as ATLAS uses it, section 5)."""

from __future__ import annotations

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
FLOOR = 1e-7                                         # of the norm, so that nothing stays nothing


def newton_schulz(matrices: Tensor) -> Tensor:
    """Move all singular values towards 1: they end near 0.7 to 1.2, small ones below.

    Args:
        matrices: (..., rows, columns), float32 at least: tiny singular values grow by about 3.4 a step.

    Returns:
        The same shape; zeros for zeros.
    """
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if is_tall else matrices).reshape(-1, *sorted(matrices.shape[-2:]))   # (all, rows, columns)
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=FLOOR)
    first, third, fifth = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT                                                                    # (all, rows, rows)
        factor = torch.baddbmm(gram, gram, gram, beta=third, alpha=fifth)
        x = torch.baddbmm(x, factor, x, beta=first)
    return (x.mT if is_tall else x).reshape(matrices.shape)
