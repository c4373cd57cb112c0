"""Two codes of 4 bits in a byte."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pack_nibbles(codes: Tensor) -> Tensor:
    """(..., K) integers from -8 to 15 -> (..., ceil(K / 2)) uint8; the low nibble is the even column."""
    bits = F.pad(codes.to(torch.int16) & 15, (0, codes.shape[-1] % 2))
    return (bits[..., ::2] | bits[..., 1::2] << 4).to(torch.uint8)


def unpack_nibbles(packed: Tensor, columns: int, *, signed: bool) -> Tensor:
    """(..., ceil(K / 2)) uint8 -> (..., K) int8 from -8 to 7, or uint8 from 0 to 15.

    Args:
        packed: as `pack_nibbles` gave it.
        columns: K.
        signed: the codes were signed.
    """
    codes = torch.stack([packed & 15, packed >> 4], dim=-1).flatten(-2)[..., :columns]
    return (((codes + 8) & 15).to(torch.int8) - 8) if signed else codes
