"""group_attention on a GPU: on tensor cores in half precision, on plain arithmetic in float32."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from ..dispatch import CUDA_FLOATING, attach_cuda, workspace
from ..group_attention import check_indices, group_attention_backward_reference, group_attention_reference


def group_attention(
    kernels: ModuleType, stream: int, qk: Tensor, v: Tensor, slots: Tensor, back: Tensor, valid: Tensor | None,
    group_size: int, num_heads: int,
) -> Tensor:
    """`group_attention_reference` without copies of the groups."""
    if not _is_served(kernels, v, num_heads):
        return group_attention_reference(qk, v, slots, back, valid, group_size, num_heads)
    _check_slots(slots, back, v)
    out = torch.empty_like(v, memory_format=torch.contiguous_format)
    kernels.group_attention(*(_plain(x) for x in (qk, v, slots, back, valid)), group_size, num_heads, out, stream)
    return out


def group_attention_backward(
    kernels: ModuleType, stream: int, grad: Tensor, qk: Tensor, v: Tensor, slots: Tensor, back: Tensor,
    valid: Tensor | None, group_size: int, num_heads: int,
) -> tuple[Tensor, Tensor]:
    """`group_attention_backward_reference` by computing the weights again, group by group."""
    if not _is_served(kernels, v, num_heads):
        return group_attention_backward_reference(grad, qk, v, slots, back, valid, group_size, num_heads)
    _check_slots(slots, back, v)
    grad_qk, grad_v = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (qk, v))
    sizes = slots.shape[0], v.shape[0], v.shape[1], num_heads
    kernels.group_attention_backward(
        *(_plain(x) for x in (grad, qk, v, slots, back, valid)), group_size, num_heads, grad_qk, grad_v,
        workspace(kernels.group_attention_backward_workspace(*sizes), v.device), stream,
    )
    return grad_qk, grad_v


def _is_served(kernels: ModuleType, v: Tensor, num_heads: int) -> bool:
    return v.dtype in CUDA_FLOATING and v.shape[1] // num_heads <= kernels.widest_head


def _check_slots(slots: Tensor, back: Tensor, v: Tensor) -> None:
    """Refuse what no kernel takes, without waiting for the device."""
    if not v.shape[0] <= slots.shape[0] < 2**31:           # a slot of its own for each token; numbers are int32
        raise ValueError(f"slots must have a length in [{v.shape[0]}, 2^31), got {slots.shape[0]}")
    check_indices(slots, back, v.shape[0])


def _plain(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().contiguous()


attach_cuda("group_attention", group_attention)
attach_cuda("group_attention_backward", group_attention_backward)
