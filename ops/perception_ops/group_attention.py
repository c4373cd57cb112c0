"""group_attention: multi-head attention within equal-sized groups of tokens, read and written in token order.

FlatFormer (Liu et al., CVPR 2023), section 3.2. The gather into groups and the way back are part of the kernel, so that
nothing of the shape (groups, size, C) is ever written.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import FLOATING, check_count, check_device, check_positive, check_range, check_tensor
from .dispatch import NATIVE, NATIVE_FLOATING, attach_native, is_native


def group_attention(
    qk: Tensor, v: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None = None, *, group_size: int, num_heads: int
) -> Tensor:
    """Exact softmax attention among the slots of each group, differentiable in ``qk`` and ``v``.

    Args:
        qk: (N, 2C) queries, then keys, any floating dtype.
        v: (N, C) values, likewise.
        slots: (P,) int64 token of each slot, P a multiple of ``group_size``; a token may have several slots.
        back: (N,) int64, the slot whose query gives a token's output; its other slots are keys only.
        valid: (P,) bool, False where a slot must not be looked at; None looks at all.
        group_size: slots of a group.
        num_heads: heads; divides C.

    Returns:
        (N, C); 0 where a group has no valid slot. Sums of half precision run in float32.

    Raises:
        ValueError: wrong shapes or dtypes, an index out of range, a size that does not divide.
    """
    check_tensor("v", v, ("N", "C"), FLOATING)
    check_tensor("qk", qk, (v.shape[0], 2 * v.shape[1]), (v.dtype,))
    check_groups("v", v, slots, back, valid, group_size, num_heads)
    check_device("v", v, qk=qk)
    arguments = (qk, v, slots, back, valid, group_size, num_heads)
    if is_native("group_attention", v.device):
        return torch.ops.perception.group_attention(*arguments)
    return group_attention_reference(*arguments)               # torch knows its gradient, and has fast kernels on a GPU


def group_attention_reference(
    qk: Tensor, v: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, group_size: int, num_heads: int
) -> Tensor:
    """The same with torch's own attention on gathered groups."""
    check_indices(slots, back, v.shape[0])
    q, k, value = _in_groups(qk, v, slots, group_size, num_heads)                           # (G, heads, S, D) each
    mask = None if valid is None else valid.view(valid.shape[0] // group_size, 1, 1, group_size)
    mixed = F.scaled_dot_product_attention(q, k, value, attn_mask=mask)
    if mask is not None:
        mixed = mixed.masked_fill(~mask.any(3, keepdim=True), 0.0)
    return mixed.transpose(1, 2).reshape(slots.shape[0], v.shape[1]).index_select(0, back)


def group_attention_backward_reference(
    grad: Tensor, qk: Tensor, v: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, group_size: int,
    num_heads: int,
) -> tuple[Tensor, Tensor]:
    """Gradients of qk and v, (N, 2C) and (N, C), in tensor algebra."""
    dtype, (N, C) = torch.promote_types(v.dtype, torch.float32), v.shape
    q, k, value = (part.to(dtype) for part in _in_groups(qk, v, slots, group_size, num_heads))
    is_output = back.index_select(0, slots) == torch.arange(slots.shape[0], device=slots.device)          # (P,)
    given = grad.to(dtype).index_select(0, slots) * is_output[:, None]                                    # (P, C)
    given = given.view(q.shape[0], group_size, num_heads, C // num_heads).transpose(1, 2)                 # as q
    scale = q.shape[3] ** -0.5
    logits = q @ k.transpose(2, 3) * scale                                                                # (.., S, S)
    if valid is not None:
        logits = logits.masked_fill(~valid.view(valid.shape[0] // group_size, 1, 1, group_size), -torch.inf)
    weights = logits.softmax(3).nan_to_num(0.0) if valid is not None else logits.softmax(3)
    slopes = given @ value.transpose(2, 3)
    slopes = weights * (slopes - (weights * slopes).sum(3, keepdim=True)) * scale
    shares = slopes @ k, slopes.transpose(2, 3) @ q, weights.transpose(2, 3) @ given
    rows = torch.cat([share.transpose(1, 2).reshape(slots.shape[0], C) for share in shares], 1)           # (P, 3C)
    total = rows.new_zeros(N, 3 * C).index_add_(0, slots, rows).to(v.dtype)
    return total[:, : 2 * C].clone(), total[:, 2 * C :].clone()            # of one token, contiguous() would be no copy


def _in_groups(qk: Tensor, v: Tensor, slots: Tensor, group_size: int, num_heads: int) -> tuple[Tensor, ...]:
    """q, k, v as (G, heads, S, D) each."""
    qkv = torch.cat([qk, v], 1).index_select(0, slots)                                      # (P, 3C)
    sizes = slots.shape[0] // group_size, group_size, 3, num_heads, v.shape[1] // num_heads
    return qkv.view(sizes).permute(2, 0, 3, 1, 4).unbind(0)


def check_groups(
    name: str, tokens: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, group_size: int, num_heads: int
) -> None:
    """Refuse groups that are none of the ``tokens`` (N, C), and heads that do not divide C; looks at no values."""
    check_positive(group_size=group_size, num_heads=num_heads)
    check_count("group_size", group_size)
    check_count("num_heads", num_heads)
    check_tensor("slots", slots, ("P",), (torch.int64,))
    check_tensor("back", back, (tokens.shape[0],), (torch.int64,))
    if valid is not None:
        check_tensor("valid", valid, (slots.shape[0],), (torch.bool,))
    check_device(name, tokens, slots=slots, back=back, valid=valid)
    if tokens.shape[1] == 0 or tokens.shape[1] % num_heads:
        raise ValueError(f"{name} must have channels that num_heads ({num_heads}) divides, got {tokens.shape[1]}")
    if slots.shape[0] % group_size:
        raise ValueError(f"slots must have a length that group_size ({group_size}) divides, got {slots.shape[0]}")


def check_indices(slots: Tensor, back: Tensor, num_tokens: int) -> None:
    """Refuse indices out of range or at odds with each other, where a look at the values costs no wait."""
    if slots.device.type == "cpu" and not torch.compiler.is_compiling():
        check_range("slots", slots, num_tokens)
        check_range("back", back, slots.shape[0])
        if not torch.equal(slots.index_select(0, back), torch.arange(num_tokens)):
            raise ValueError("back must name a slot of its own token")


def native_groups(
    slots: Tensor, back: Tensor, valid: Tensor | None, num_tokens: int, group_size: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The three contiguous, after a look at the indices, which is the kernels' own and quick."""
    assert NATIVE is not None
    slots, back = slots.contiguous(), back.contiguous()
    if not NATIVE.groups_agree(slots, back, group_size):
        check_indices(slots, back, num_tokens)                             # says what is wrong
    return slots, back, None if valid is None else valid.contiguous()


def _group_attention_cpu(
    qk: Tensor, v: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, group_size: int, num_heads: int
) -> Tensor:
    if v.dtype not in NATIVE_FLOATING:
        return group_attention_reference(qk, v, slots, back, valid, group_size, num_heads)
    assert NATIVE is not None
    slots, back, valid = native_groups(slots, back, valid, v.shape[0], group_size)
    out = torch.empty_like(v, memory_format=torch.contiguous_format)
    NATIVE.group_attention(
        qk.detach().contiguous(), v.detach().contiguous(), slots, back, valid, group_size, num_heads, out,
        torch.get_num_threads(),
    )
    return out


def _group_attention_backward_cpu(
    grad: Tensor, qk: Tensor, v: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, group_size: int,
    num_heads: int,
) -> tuple[Tensor, Tensor]:
    if v.dtype not in NATIVE_FLOATING:
        return group_attention_backward_reference(grad, qk, v, slots, back, valid, group_size, num_heads)
    assert NATIVE is not None
    grad_qk, grad_v = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (qk, v))
    NATIVE.group_attention_backward(
        grad.detach().contiguous(), qk.detach().contiguous(), v.detach().contiguous(), slots.contiguous(),
        back.contiguous(), None if valid is None else valid.contiguous(), group_size, num_heads, grad_qk, grad_v,
        torch.get_num_threads(),
    )
    return grad_qk, grad_v


_op = torch.library.custom_op("perception::group_attention", group_attention_reference, mutates_args=())
_backward_op = torch.library.custom_op(
    "perception::group_attention_backward", group_attention_backward_reference, mutates_args=()
)
attach_native("group_attention", _group_attention_cpu)
attach_native("group_attention_backward", _group_attention_backward_cpu)


@_op.register_fake
def _(
    qk: Tensor, v: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, group_size: int, num_heads: int
) -> Tensor:
    return torch.empty_like(v, memory_format=torch.contiguous_format)


@_backward_op.register_fake
def _(
    grad: Tensor, qk: Tensor, v: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None, group_size: int,
    num_heads: int,
) -> tuple[Tensor, Tensor]:
    return qk.new_empty(qk.shape), v.new_empty(v.shape)


def _save(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.group_size, ctx.num_heads = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_backward_op(grad, *ctx.saved_tensors, ctx.group_size, ctx.num_heads), None, None, None, None, None


_op.register_autograd(_backward, setup_context=_save)
