"""Signs of short pieces of a vector as addresses of table rows, and how much each address counts.

"MemoryFormer: Minimize Transformer Computation by Removing Fully-Connected Layers" (NeurIPS 2024), after the authors'
code (C0-Design/MemoryFormer): the first channel of a piece is the most significant bit, and both zeros give 1. The
released score has a factor that the paper's formula lacks; the paper's cosine form with a temperature is recalled, not
confirmed by code, but its factorisation is exact.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Weighting = Literal["released", "prob", "cosine"]
MOST_BITS = 24                                       # of an address: tables of more rows fit nowhere


class HashCodes(NamedTuple):
    """Addresses and how much they count: ``codes`` (M, K) int64 in [0, 2^bits), ``scores`` (M, K) float32 at least."""

    codes: Tensor
    scores: Tensor


def sign_codes(z: Tensor) -> Tensor:
    """(..., bits) -> (...) int64: the signs as a binary number, 1 for >= 0, the first the most significant."""
    bits = z.shape[-1]
    weights = torch.tensor([1 << place for place in range(bits - 1, -1, -1)], device=z.device)   # ONNX has no shift
    return ((z >= 0).long() * weights).sum(-1)


def sign_scores(z: Tensor, weighting: Weighting = "released", temperature: float = 1.0) -> Tensor:
    """How much the address of a piece counts, (..., bits) -> (...), float32 at least.

    Args:
        z: a piece.
        weighting: "prob" is the probability of the address under independent bits with odds exp(2 z), the product of
            1 / (1 + exp(-2 |z|)); "released" multiplies it by the sum of |z|; "cosine" is the softmax over all
            addresses of the cosine between the piece and the address's signs over ``temperature``.
        temperature: of "cosine".
    """
    size = z.to(torch.promote_types(z.dtype, torch.float32)).abs()
    if weighting == "cosine":
        length = size.square().sum(-1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny).sqrt()
        size = size / (temperature * math.sqrt(z.shape[-1]) * length)
    chance = F.logsigmoid(2 * size).sum(-1).exp()
    return size.sum(-1) * chance if weighting == "released" else chance


class SignHash(nn.Module):
    """Cuts vectors into K pieces and gives the address and score of each.

    Args:
        in_channels: width of the vectors; narrower ones than K pieces are filled up with zeros, whose bits are 1.
        tables: pieces K.
        bits: channels of a piece.
        weighting, temperature: see `sign_scores`.
        projection: a linear layer with bias to K * bits channels comes first.

    Raises:
        ValueError: a size is below 1, there are too many bits, the vectors are wider than the pieces and there is no
            projection, or the weighting or the temperature is none.
    """

    def __init__(
        self, in_channels: int, tables: int, bits: int, *, weighting: Weighting = "released", temperature: float = 1.0,
        projection: bool = False,
    ) -> None:
        super().__init__()
        if min(in_channels, tables) < 1:
            raise ValueError(f"in_channels and tables must be >= 1, got {in_channels} and {tables}")
        if not 1 <= bits <= MOST_BITS:
            raise ValueError(f"bits must lie in [1, {MOST_BITS}], got {bits}")
        if not projection and in_channels > tables * bits:
            raise ValueError(
                f"{tables} tables of {bits} bits read {tables * bits} channels, got {in_channels}; more tables or a "
                "projection would take them"
            )
        if weighting not in get_args(Weighting):
            raise ValueError(f"weighting must be one of {', '.join(get_args(Weighting))}, got {weighting!r}")
        if temperature <= 0:
            raise ValueError(f"temperature must be > 0, got {temperature}")
        self.in_channels, self.tables, self.bits = in_channels, tables, bits
        self.weighting, self.temperature = weighting, temperature
        self.projection = nn.Linear(in_channels, tables * bits) if projection else None

    def forward(self, x: Tensor) -> HashCodes:
        """(..., in_channels) -> codes and scores of the M vectors."""
        z = x.reshape(-1, self.in_channels)                                                # (M, in_channels)
        z = z if self.projection is None else self.projection(z)
        z = F.pad(z, (0, self.tables * self.bits - z.shape[1])).unflatten(1, (self.tables, self.bits))
        return HashCodes(sign_codes(z), sign_scores(z, self.weighting, self.temperature))

    def extra_repr(self) -> str:
        return f"tables={self.tables}, bits={self.bits}, weighting={self.weighting!r}"
