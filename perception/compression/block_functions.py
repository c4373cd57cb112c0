"""What lies between the products of a transformer, on tensors in blocks: dequantise, compute, quantise.

That is the definition; the table of GELU and the soft-max of integers are the sheet's ways to compute parts of it
without floats.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from .block_quantize import BlockFormat, block_rounded

EXP_ENTRIES = 256                                  # of the table of 2^-fraction
EXP_BITS = 15


def gelu_table(shift: int, bits: int = 8) -> Tensor:
    """GELU (by erf) of every code -q..q of an input shift: (2 q + 1,) float32."""
    q = 2 ** (bits - 1) - 1
    return F.gelu(torch.arange(-q, q + 1, dtype=torch.float64) * 2.0**-shift).float()


def integer_softmax(x: Tensor) -> Tensor:
    """Soft-max over the last dimension by shifts and a table, within 0.3 % of the exact one.

    Each term is 2^-u with u = (max - x) log2 e: a shift by the whole part, and of the rest a table of 256 entries of 15
    bits.

    Args:
        x: (..., C) floats, the values of codes.
    """
    exponent = (x.amax(dim=-1, keepdim=True) - x).double() * math.log2(math.e)
    whole, rest = exponent.floor(), exponent.frac()
    centres = (torch.arange(EXP_ENTRIES, device=x.device, dtype=torch.float64) + 0.5) / EXP_ENTRIES
    table = (2.0**-centres * 2**EXP_BITS).round()                                   # of 2^-fraction, whole numbers
    terms = torch.ldexp(table[(rest * EXP_ENTRIES).long()], -whole.int())
    return (terms / terms.sum(dim=-1, keepdim=True)).to(x.dtype)


def block_layer_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, how: BlockFormat, eps: float, bias_bits: int = 8
) -> Tensor:
    """LayerNorm with gamma and beta in blocks of a row, its result in blocks.

    Args:
        x: (..., C) values.
        gamma, beta: (C,).
        how: format of the result.
        eps: inside the root.
        bias_bits: of gamma and beta.
    """
    of_bias = replace(how.of_rows(), bits=bias_bits)
    gamma, beta = block_rounded(gamma, of_bias), block_rounded(beta, of_bias)
    return block_rounded(F.layer_norm(x, x.shape[-1:], gamma, beta, eps), how)
