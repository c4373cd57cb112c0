"""A scale for each input channel that moves what is hard to quantise from activations to weights.

As in "SmoothQuant" (Xiao et al., ICML 2023): max|x_j|^a / max|w_j|^(1 - a).
"""

from __future__ import annotations

import torch
from torch import Tensor


def smooth_scale(x_max: Tensor, w_max: Tensor, alpha: float = 0.5) -> Tensor:
    """Divide inputs and multiply weights by it, and the product stays as it was.

    Args:
        x_max: (K,) largest absolute input of each channel.
        w_max: (K,) largest absolute weight of each input channel.
        alpha: share of the range that goes to the weights, in [0, 1].

    Returns:
        (K,) > 0; 1 for a channel where either is 0.

    Raises:
        ValueError: ``alpha`` lies outside [0, 1].
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    scale = x_max**alpha / w_max ** (1 - alpha)
    return torch.where((x_max > 0) & (w_max > 0), scale, torch.ones_like(scale))
