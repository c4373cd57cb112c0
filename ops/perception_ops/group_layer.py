"""group_layer: a whole transformer layer over groups of tokens, for inference on a CPU.

FlatFormer (Liu et al., CVPR 2023), section 3.2. Between its matrix products a layer written step by step sends every
token to memory and back a dozen times; here the tokens of some groups stay in cache until they are done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_device, check_tensor
from .dispatch import NATIVE, attach_native, is_native
from .group_attention import check_groups, group_attention_reference, native_groups

_FLOAT = (torch.float32,)
_WIDEST_PANEL = 32                                 # columns of a weight that a kernel takes at once, at most


class GroupLayerWeights(NamedTuple):
    """Parameters of a layer, float32: weights (out, in) and biases (out,) of linear layers, scales and shifts of norms.

    Attributes:
        qkv: (3C, C): queries, keys, values.
        qkv_bias: (3C,).
        proj: (C, C).
        proj_bias: (C,).
        norm1: (C,), after the sum of the attention with its input.
        norm1_bias: (C,).
        fc1: (H, C).
        fc1_bias: (H,).
        fc2: (C, H).
        fc2_bias: (C,).
        norm2: (C,), after the sum of the feed-forward part with its input.
        norm2_bias: (C,).
    """

    qkv: Tensor
    qkv_bias: Tensor
    proj: Tensor
    proj_bias: Tensor
    norm1: Tensor
    norm1_bias: Tensor
    fc1: Tensor
    fc1_bias: Tensor
    fc2: Tensor
    fc2_bias: Tensor
    norm2: Tensor
    norm2_bias: Tensor


def serves_group_layer(tokens: Tensor, hidden: int) -> bool:
    """Whether a compiled kernel takes float32 tokens (N, C) here, with a feed-forward part of so many channels.

    It has no gradient, and a compiler sees more in the single steps.
    """
    fits = tokens.dtype is torch.float32 and tokens.shape[1] % _WIDEST_PANEL == 0 and hidden % _WIDEST_PANEL == 0
    is_plain = torch.is_grad_enabled() or torch.is_autocast_enabled(tokens.device.type) or torch.compiler.is_compiling()
    return fits and not is_plain and is_native("group_layer", tokens.device)


def group_layer(
    tokens: Tensor, position: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, weights: GroupLayerWeights, *,
    group_size: int, num_heads: int, eps: float = 1e-5,
) -> Tensor:
    """x = norm1(tokens + attention), then norm2(x + fc2(gelu(fc1(x)))); without gradient.

    Args:
        tokens: (N, C) float32.
        position: (N, C) float32, added to what queries and keys are made of.
        slots: (P,) int64; see `group_attention`, as for the next three.
        back: (N,) int64.
        valid: (P,) bool or None.
        weights: of the layer.
        group_size: slots of a group.
        num_heads: heads; divides C.
        eps: of both normalisations.

    Returns:
        (N, C) float32.

    Raises:
        ValueError: wrong shapes or dtypes, an index out of range, a size that does not divide.
    """
    check_tensor("tokens", tokens, ("N", "C"), _FLOAT)
    check_tensor("weights.fc1", weights.fc1, ("H", "C"), _FLOAT)
    (N, C), H = tokens.shape, weights.fc1.shape[0]
    check_tensor("position", position, (N, C), _FLOAT)
    check_groups("tokens", tokens, slots, back, valid, group_size, num_heads)
    check_device("tokens", tokens, position=position)
    shapes = ((3 * C, C), (3 * C,), (C, C), (C,), (C,), (C,), (H, C), (H,), (C, H), (C,), (C,), (C,))
    for name, weight, shape in zip(GroupLayerWeights._fields, weights, shapes, strict=True):
        check_tensor(f"weights.{name}", weight, shape, _FLOAT)
        check_device("tokens", tokens, **{f"weights.{name}": weight})
    return torch.ops.perception.group_layer(
        tokens, position, slots, back, valid, list(weights), group_size, num_heads, eps
    )


def group_layer_reference(
    tokens: Tensor, position: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, weights: Sequence[Tensor],
    group_size: int, num_heads: int, eps: float,
) -> Tensor:
    """The same, step by step."""
    of, C = GroupLayerWeights(*weights), tokens.shape[1]
    qk = F.linear(tokens + position, of.qkv[: 2 * C], of.qkv_bias[: 2 * C])                 # (N, 2C)
    v = F.linear(tokens, of.qkv[2 * C :], of.qkv_bias[2 * C :])                             # (N, C)
    mixed = group_attention_reference(qk, v, slots, back, valid, group_size, num_heads)
    x = F.layer_norm(tokens + F.linear(mixed, of.proj, of.proj_bias), (C,), of.norm1, of.norm1_bias, eps)
    fed = F.linear(F.gelu(F.linear(x, of.fc1, of.fc1_bias)), of.fc2, of.fc2_bias)
    return F.layer_norm(x + fed, (C,), of.norm2, of.norm2_bias, eps)


def _group_layer_cpu(
    tokens: Tensor, position: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, weights: Sequence[Tensor],
    group_size: int, num_heads: int, eps: float,
) -> Tensor:
    assert NATIVE is not None
    of, (_, C) = GroupLayerWeights(*weights), tokens.shape
    if C % _WIDEST_PANEL or of.fc1.shape[0] % _WIDEST_PANEL:
        return group_layer_reference(tokens, position, slots, back, valid, weights, group_size, num_heads, eps)
    slots, back, valid = native_groups(slots, back, valid, len(tokens), group_size)
    qkv, qkv_bias, *rest = (weight.detach().contiguous() for weight in of)
    rows, code = tokens.detach().contiguous(), position.detach().contiguous()
    out = torch.empty_like(rows)
    NATIVE.group_layer(
        rows, code, slots, back, valid, group_size, num_heads, eps, qkv[: 2 * C], qkv_bias[: 2 * C], qkv[2 * C :],
        qkv_bias[2 * C :], *rest, out, torch.get_num_threads(),
    )
    return out


_op = torch.library.custom_op("perception::group_layer", group_layer_reference, mutates_args=())
attach_native("group_layer", _group_layer_cpu)


@_op.register_fake
def _(
    tokens: Tensor, position: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, weights: Sequence[Tensor],
    group_size: int, num_heads: int, eps: float,
) -> Tensor:
    return tokens.new_empty(tokens.shape)
