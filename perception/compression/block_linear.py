"""A linear layer whose weights lie in blocks and whose input is cut as it comes."""

from __future__ import annotations

from torch import Tensor

from .block_matmul import block_matmul
from .block_quantize import BlockFormat, Blocks, block_quantize, block_rounded


def block_linear(x: Tensor, weight: Blocks, bias: Tensor | None, activations: BlockFormat) -> Tensor:
    """Q(Q(x) W^T + b) with the products of integers and Q the cut of activations.

    Args:
        x: (..., K); all dimensions but the last are rows.
        weight: (N, K) in blocks of as many columns as those of activations.
        bias: (N,) float, rounded to blocks already; or None.
        activations: format of x and of the result.

    Returns:
        (..., N) of the dtype of ``x``.

    Raises:
        ValueError: see `block_matmul`.
    """
    y = block_matmul(block_quantize(x.reshape(-1, x.shape[-1]), activations), weight)         # (M, N)
    y = y if bias is None else y + bias
    return block_rounded(y, activations).view(*x.shape[:-1], -1).to(x.dtype)
