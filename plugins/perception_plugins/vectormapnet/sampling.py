"""Choosing tokens: the likeliest one, or one of the likeliest that together hold a share of the probability.

Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020 (nucleus sampling).
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCKED = -1e9


def nucleus_logits(logits: Tensor, mass: float) -> Tensor:
    """Take 1e9 off the logit of every token before which, in falling order, lies more than ``mass`` of the probability.

    The token that crosses ``mass`` stays, so the likeliest one always does, and 0 leaves it alone.

    Args:
        logits: (..., V).
        mass: in [0, 1].

    Raises:
        ValueError: ``mass`` is out of range.
    """
    check_mass(mass)
    falling, order = logits.sort(dim=-1, descending=True, stable=True)
    before = falling.softmax(dim=-1).cumsum(dim=-1).roll(1, dims=-1)
    before[..., 0] = 0.0
    blocked = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before > mass)
    return logits + BLOCKED * blocked


def pick(logits: Tensor, mass: float, noise: Tensor | None) -> Tensor:
    """One token for each row.

    Args:
        logits: (L, V).
        mass: share of the probability that is sampled from; 0 takes the likeliest token.
        noise: (L,) uniform in [0, 1), one draw a row; needed unless ``mass`` is 0.

    Returns:
        (L,) int64.

    Raises:
        ValueError: ``mass`` is out of range, or the noise is missing.
    """
    if mass == 0:
        return logits.argmax(dim=1)
    if noise is None:
        raise ValueError(f"noise is needed to sample from a mass of {mass}")
    share = nucleus_logits(logits, mass).double().softmax(dim=1).cumsum(dim=1)            # (L, V)
    place = noise.double()[:, None] * share[:, -1:]
    return (share <= place).sum(dim=1)


def check_mass(mass: float) -> None:
    """Raises ValueError unless ``mass`` lies in [0, 1]."""
    if not 0.0 <= mass <= 1.0:
        raise ValueError(f"mass must lie in [0, 1], got {mass}")
