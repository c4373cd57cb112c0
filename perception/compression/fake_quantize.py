"""Rounding that training sees, with a gradient that passes straight through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .int8 import LARGEST, LEVELS, Range, dequantize_range, dequantize_rows, quantize_range, quantize_rows


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, rounded: Tensor, is_inside: Tensor) -> Tensor:
        ctx.save_for_backward(is_inside)
        return rounded.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (is_inside,) = ctx.saved_tensors
        return grad * is_inside, None, None


def fake_quantize_rows(weight: Tensor) -> Tensor:
    """Weights (N, K) as 8-bit codes hold them; the gradient is 1, since a row's scale lets none fall outside."""
    rows = quantize_rows(weight.detach())
    is_inside = weight.detach().abs() <= rows.scale.unsqueeze(-1) * (LARGEST + 0.5)
    return _StraightThrough.apply(weight, dequantize_rows(rows), is_inside)


def fake_quantize_range(x: Tensor, of: Range) -> Tensor:
    """Activations as 8-bit codes of a range hold them; the gradient is 1 inside the range and 0 outside."""
    codes = (x.detach() / of.scale).round() + of.zero
    rounded = dequantize_range(quantize_range(x.detach(), of), of)
    return _StraightThrough.apply(x, rounded, (codes >= 0) & (codes <= LEVELS))
