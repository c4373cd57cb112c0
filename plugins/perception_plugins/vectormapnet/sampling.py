"""Choosing tokens: the likeliest, the median, or one of the likeliest that together hold a share of the probability.

Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020 (nucleus sampling).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .tokens import STOP

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


def median_token(logits: Tensor) -> Tensor:
    """(L, V) logits -> (L,) int64: the stop where it is the likeliest token, else the median of the others.

    Tokens other than the stop are places in a row, and of all places the median has the least expected distance.
    """
    probability = logits.softmax(dim=1)
    share = probability[:, STOP + 1 :].cumsum(dim=1)
    median = STOP + 1 + (share < share[:, -1:] / 2).sum(dim=1)
    return torch.where(probability.argmax(dim=1) == STOP, STOP, median)


def pick(logits: Tensor, mass: float, noise: Tensor | None, *, median: bool = False) -> Tensor:
    """One token for each row.

    Args:
        logits: (L, V).
        mass: share of the probability that is sampled from; 0 takes the likeliest token.
        noise: (L,) uniform in [0, 1), one draw a row; needed unless ``mass`` is 0.
        median: with a ``mass`` of 0, take the `median_token`.

    Returns:
        (L,) int64.

    Raises:
        ValueError: ``mass`` is out of range, or the noise is missing.
    """
    if mass == 0:
        return median_token(logits) if median else logits.argmax(dim=1)
    if noise is None:
        raise ValueError(f"noise is needed to sample from a mass of {mass}")
    share = nucleus_logits(logits, mass).double().softmax(dim=1).cumsum(dim=1)            # (L, V)
    place = noise.double()[:, None] * share[:, -1:]
    return (share <= place).sum(dim=1)


def check_mass(mass: float) -> None:
    """Raises ValueError unless ``mass`` lies in [0, 1]."""
    if not 0.0 <= mass <= 1.0:
        raise ValueError(f"mass must lie in [0, 1], got {mass}")
