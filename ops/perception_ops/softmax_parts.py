"""Softmax attention over a part of the keys, and the associative sum that joins parts.

"Lean Attention" (2024): a part is (m, l, o), the largest logit, the sum of exp(logit - m) and that of exp(logit - m) v.
Joining is associative and commutative, since (e^m l, e^m o) is a plain sum and m a maximum, so keys may be cut unevenly
and parts joined in any tree; only rounding differs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class SoftmaxPart(NamedTuple):
    """What a part of the keys comes to for each query; float32 at least.

    ``top`` (..., S) is the largest logit, -inf without a key; a constant for the gradient, which it does not change.
    ``total`` (..., S) is the sum of the weights exp(logit - top), ``mixed`` (..., S, d) that of the values by weight.
    """

    top: Tensor
    total: Tensor
    mixed: Tensor


def partial_attention(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, mask: Tensor | None = None
) -> SoftmaxPart:
    """Attend to some keys; none at all, or none that may be seen, give the neutral part (-inf, 0, 0).

    Args:
        q: (..., S, d) queries, any floating dtype.
        k, v: (..., T, d) keys and values of this part, batched as ``q`` or broadcast to it.
        scale: factor of the products; None is d^-0.5.
        mask: bool, broadcast to (..., S, T): True where a query may see a key.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    logits = (q.to(dtype) * scale) @ k.to(dtype).transpose(-2, -1)                          # (..., S, T)
    if k.shape[-2] == 0:
        nothing = logits.sum(-1)
        return SoftmaxPart(nothing - torch.inf, nothing, logits @ v.to(dtype))
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    top = logits.detach().amax(-1)                                                          # (..., S)
    weights = (logits - _offset(top)[..., None]).exp()
    return SoftmaxPart(top, weights.sum(-1), weights @ v.to(dtype))


def merge(a: SoftmaxPart, b: SoftmaxPart) -> SoftmaxPart:
    """Join two parts of the same queries."""
    top = torch.maximum(a.top, b.top)
    offset = _offset(top)
    shrink_a, shrink_b = (a.top - offset).exp(), (b.top - offset).exp()
    return SoftmaxPart(
        top,
        shrink_a * a.total + shrink_b * b.total,
        shrink_a[..., None] * a.mixed + shrink_b[..., None] * b.mixed,
    )


def finalize(part: SoftmaxPart) -> tuple[Tensor, Tensor]:
    """The attention (..., S, d) and the log of the sum of exp(logit) (..., S); 0 and -inf where no key was seen."""
    has_keys = part.total > 0
    total = torch.where(has_keys, part.total, 1.0)
    return part.mixed / total[..., None], torch.where(has_keys, _offset(part.top) + total.log(), -torch.inf)


def merge_all(parts: SoftmaxPart, dim: int) -> SoftmaxPart:
    """Join the parts that lie along a dimension of batches, in a tree of depth log2 of their number.

    Args:
        parts: at least one along ``dim``.
        dim: >= 0, before the queries'; gone from the result.
    """
    while (count := parts.top.shape[dim]) > 1:
        half = count // 2
        joined = merge(_narrow(parts, dim, 0, half), _narrow(parts, dim, half, half))
        rest = _narrow(parts, dim, 2 * half, count - 2 * half)
        parts = SoftmaxPart(*(torch.cat(both, dim) for both in zip(joined, rest, strict=True)))
    return SoftmaxPart(*(x.squeeze(dim) for x in parts))


def _narrow(parts: SoftmaxPart, dim: int, start: int, length: int) -> SoftmaxPart:
    return SoftmaxPart(*(x.narrow(dim, start, length) for x in parts))


def _offset(top: Tensor) -> Tensor:
    """What logits are taken relative to: the largest, but 0 for a part without a key, lest infinities be subtracted."""
    return top.masked_fill(top == -torch.inf, 0.0)
