"""An encoder layer of which every tensor lies in blocks (BCT, 2023; the formulas are our reading)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .block_functions import block_layer_norm
from .block_linear import block_linear
from .block_matmul import block_matmul
from .block_quantize import BlockFormat, block_quantize, block_rounded


class EncoderTrace(NamedTuple):
    """What a layer gave on the way.

    Args:
        y: (N, C) result.
        context: (N, C) concatenated heads.
        after_ln1: (N, C) after attention, its sum and its LayerNorm.
        hidden: (N, F) after GELU.
        prob: (heads, N, N) attention weights.
    """

    y: Tensor
    context: Tensor
    after_ln1: Tensor
    hidden: Tensor
    prob: Tensor


def block_encoder_layer(
    x: Tensor,
    state: Mapping[str, Tensor],
    *,
    heads: int,
    weights: BlockFormat,
    activations: BlockFormat,
    bias_bits: int = 8,
    eps: float = 1e-12,
) -> EncoderTrace:
    """A post-norm layer (as BERT's) in blocks; the products are those of integers.

    Args:
        x: (N, C) tokens of one sample.
        state: ``q k v out fc1 fc2`` (linear) and ``ln1 ln2``, each with ``.weight`` and ``.bias``.
        heads: divisor of C; blocks begin anew in each head.
        weights: format of the weights of linear layers.
        activations: format of everything that depends on x.
        bias_bits: of biases, gammas and betas.
        eps: of the normalisations.
    """
    of_bias = replace(activations.of_rows(), bits=bias_bits)

    def linear(name: str, rows: Tensor) -> Tensor:
        bias = block_rounded(state[f"{name}.bias"], of_bias)
        return block_linear(rows, block_quantize(state[f"{name}.weight"], weights), bias, activations)

    def norm(name: str, rows: Tensor) -> Tensor:
        return block_layer_norm(rows, state[f"{name}.weight"], state[f"{name}.bias"], activations, eps, bias_bits)

    x = block_rounded(x, activations)
    query, key, value = (linear(name, x).chunk(heads, dim=1) for name in "qkv")     # heads of (N, D) each
    mixed = [_attend(*parts, activations) for parts in zip(query, key, value, strict=True)]
    context = torch.cat([one for _, one in mixed], dim=1)
    x = norm("ln1", block_rounded(x + linear("out", context), activations))
    hidden = block_rounded(F.gelu(linear("fc1", x)), activations)
    y = norm("ln2", block_rounded(x + linear("fc2", hidden), activations))
    return EncoderTrace(y, context, x, hidden, torch.stack([prob for prob, _ in mixed]))


def _attend(query: Tensor, key: Tensor, value: Tensor, how: BlockFormat) -> tuple[Tensor, Tensor]:
    """Weights (N, N) and result (N, D) of one head."""
    products = block_matmul(block_quantize(query, how), block_quantize(key, how))
    prob = block_rounded(block_rounded(products / math.sqrt(query.shape[1]), how).softmax(dim=1), how)
    mixed = prob @ block_rounded(value, how)       # blocks of values lie across the sum, so these are floats
    return prob, block_rounded(mixed, how)
