"""Integers of 8 bits for weights and activations, as we define them.

Conventions of "A Survey of Techniques for Optimizing Transformer Inference" (2023) made exact by us: codes are rounded
half to even; weights are symmetric, a scale for each output row; activations are asymmetric of one range, or symmetric
of a scale for each row that is found as they come.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LARGEST = 127                                      # of a symmetric code, so that -128 is unused
LEVELS = 255                                       # of an asymmetric code


class Rows(NamedTuple):
    """Symmetric codes: value = code * scale of the row.

    Args:
        codes: (N, K) int8.
        scale: (N,) of the values' dtype.
    """

    codes: Tensor
    scale: Tensor


class Range(NamedTuple):
    """Asymmetric codes of a range that holds 0: value = (code - zero) * scale; scalars, ``zero`` a whole number."""

    scale: Tensor
    zero: Tensor


def quantize_rows(values: Tensor) -> Rows:
    """(..., K) -> symmetric codes with a scale for each row, max |value| / 127; a row of zeros has scale 1."""
    scale = _or_one(values.abs().amax(dim=-1) / LARGEST)
    codes = (values / scale.unsqueeze(-1)).round().clamp(-LARGEST, LARGEST).to(torch.int8)
    return Rows(codes, scale)


def dequantize_rows(rows: Rows) -> Tensor:
    """(..., K) values of codes."""
    return rows.codes.to(rows.scale.dtype) * rows.scale.unsqueeze(-1)


def range_of(lowest: Tensor, highest: Tensor) -> Range:
    """Scale and zero of activations between two bounds; the range is widened to hold 0.

    Args:
        lowest, highest: scalars, as seen on calibration data.
    """
    lowest, highest = lowest.clamp(max=0), highest.clamp(min=0)
    scale = _or_one((highest - lowest) / LEVELS)
    return Range(scale, (-lowest / scale).round().clamp(0, LEVELS))


def quantize_range(values: Tensor, of: Range) -> Tensor:
    """uint8 codes of values; those beyond the range get its ends."""
    return ((values / of.scale).round() + of.zero).clamp(0, LEVELS).to(torch.uint8)


def dequantize_range(codes: Tensor, of: Range) -> Tensor:
    """Values of codes."""
    return (codes.to(of.scale.dtype) - of.zero) * of.scale


def linear_static(x: Tensor, of: Range, weight: Rows, bias: Tensor | None = None) -> Tensor:
    """A linear layer on codes of activations (..., K) whose range was calibrated -> (..., N)."""
    codes = quantize_range(x, of).to(torch.int16) - of.zero.to(torch.int16)                 # (..., K), -255 to 255
    return _rescaled(integer_linear(codes, weight.codes, LEVELS * LARGEST), of.scale, weight.scale, bias, x.dtype)


def linear_dynamic(x: Tensor, weight: Rows, bias: Tensor | None = None) -> Tensor:
    """A linear layer on codes of activations (..., K) with a scale for each row -> (..., N)."""
    rows = quantize_rows(x)
    sums = integer_linear(rows.codes, weight.codes, LARGEST * LARGEST)
    return _rescaled(sums, rows.scale.unsqueeze(-1), weight.scale, bias, x.dtype)


def integer_linear(a: Tensor, w: Tensor, largest_product: int) -> Tensor:
    """Exact sums of products of integers: (..., K), (N, K) -> (..., N).

    Computed by the float unit, whose products of matrices are the fast ones of a CPU: float32 holds every whole number
    below 2^24 and float64 below 2^53, so no sum is rounded and the result is that of integers.

    Args:
        a, w: integers.
        largest_product: bound on the absolute product of two of them.

    Returns:
        float32 or float64 of whole numbers.
    """
    dtype = torch.float32 if a.shape[-1] * largest_product < 2**24 else torch.float64
    with torch.autocast(a.device.type, enabled=False):
        return F.linear(a.to(dtype), w.to(dtype))


def _rescaled(sums: Tensor, scale: Tensor, weight_scale: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    wide = torch.promote_types(sums.dtype, weight_scale.dtype)
    y = sums.to(wide) * scale * weight_scale
    return (y if bias is None else y + bias).to(dtype)


def _or_one(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, torch.ones_like(scale), scale)
