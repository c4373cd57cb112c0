"""hash_lookup and its gradients on a GPU."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from ..dispatch import CUDA_FLOATING, attach_cuda, workspace
from ..hash_lookup import hash_lookup_backward_reference, hash_lookup_reference


def hash_lookup(kernels: ModuleType, stream: int, scores: Tensor, codes: Tensor, tables: Tensor) -> Tensor:
    """`hash_lookup_reference`, the tables of a token in ascending order."""
    if not _is_served(codes, tables):
        return hash_lookup_reference(scores, codes, tables)
    out = tables.new_empty(len(scores), tables.shape[1])
    kernels.hash_lookup(scores.detach().contiguous(), codes.contiguous(), tables.detach().contiguous(), out, stream)
    return out


def hash_lookup_backward(
    kernels: ModuleType, stream: int, grad: Tensor, scores: Tensor, codes: Tensor, tables: Tensor
) -> tuple[Tensor, Tensor]:
    """`hash_lookup_backward_reference` without atomic additions, so the same in every run."""
    if not _is_served(codes, tables):
        return hash_lookup_backward_reference(grad, scores, codes, tables)
    grad_scores, grad_tables = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (scores, tables))
    given = (x.detach().contiguous() for x in (grad, scores, codes, tables))
    space = workspace(kernels.hash_lookup_backward_workspace(codes.numel(), tables.shape[0]), tables.device)
    kernels.hash_lookup_backward(*given, grad_scores, grad_tables, space, stream)
    return grad_scores, grad_tables


def _is_served(codes: Tensor, tables: Tensor) -> bool:
    return tables.dtype in CUDA_FLOATING and codes.numel() < 2**31 and tables.shape[0] < 2**32


attach_cuda("hash_lookup", hash_lookup)
attach_cuda("hash_lookup_backward", hash_lookup_backward)
