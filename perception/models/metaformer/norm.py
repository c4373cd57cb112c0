"""Norms of tokens (B, N, C), by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from perception.registry import MODELS

from ..token_layout import map_of, tokens_of


def _row_of(tokens: Tensor) -> Tensor:
    """The tokens as a map of one row, (B, C, 1, N), channels last."""
    return map_of(tokens, (1, tokens.shape[1]))


class SampleNorm(nn.GroupNorm):
    """Group normalisation (Wu & He, ECCV 2018) with one group: statistics over all tokens and channels of a sample.

    Args:
        channels: width C.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(1, channels, eps)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return tokens_of(super().forward(_row_of(tokens)))


class TokenBatchNorm(nn.BatchNorm2d):
    """Batch normalisation: statistics of each channel over all tokens of a batch; arguments as `nn.BatchNorm2d`."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return tokens_of(super().forward(_row_of(tokens)))


NORMS: dict[str, type[nn.Module]] = {"group": SampleNorm, "layer": nn.LayerNorm, "batch": TokenBatchNorm}


def token_norm(norm: str | Mapping[str, Any] | None, channels: int, eps: float = 1e-5) -> nn.Module:
    """A norm of tokens (B, N, C).

    Args:
        norm: "group", all tokens and channels of a sample together; "layer", the channels of each token; "batch", each
            channel over the batch; a config, whose module is given ``channels``; None for none.
        channels: width C.
        eps: added to the variance, of the norms by name.

    Raises:
        ValueError: there is no norm of that name.
    """
    if norm is None:
        return nn.Identity()
    if isinstance(norm, Mapping):
        return MODELS.build({"channels": channels, **norm})
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, a config or None, got {norm!r}")
    return NORMS[norm](channels, eps)
