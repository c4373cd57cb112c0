"""The two linear layers that follow attention."""

from __future__ import annotations

from torch import nn


def feed_forward(channels: int, hidden: int, dropout: float = 0.0) -> nn.Sequential:
    """(..., channels) -> hidden -> (..., channels) with a ReLU between; the residual is the caller's."""
    return nn.Sequential(
        nn.Linear(channels, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, channels), nn.Dropout(dropout)
    )
