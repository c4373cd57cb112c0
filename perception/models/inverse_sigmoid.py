"""The logit that reference points are refined in."""

from __future__ import annotations

from torch import Tensor


def inverse_sigmoid(share: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of numbers in [0, 1], cut to that range; each number and its complement count as at least ``eps``."""
    share = share.clamp(0.0, 1.0)
    return share.clamp(min=eps).log() - (1 - share).clamp(min=eps).log()
