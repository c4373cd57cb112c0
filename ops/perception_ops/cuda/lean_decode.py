"""lean_decode on a GPU: persistent workers on equal shares of the keys, then one launch that joins their parts."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from ..dispatch import CUDA_FLOATING, attach_cuda, workspace
from ..lean_decode import lean_decode_reference, rows_side_by_side, tile_starts
from ..stream_k import plan

_PROCESSORS = 4                                      # of the device that the tests emulate on the host


def lean_decode(
    kernels: ModuleType, stream: int, q: Tensor, k: Tensor, v: Tensor, kv_len: Tensor | None, mask: Tensor | None,
    scale: float, workers: int, tile: int,
) -> tuple[Tensor, Tensor]:
    """`lean_decode_reference` without logits in memory; without ``workers`` as many as `plan` has."""
    if q.dtype not in CUDA_FLOATING or q.shape[3] > kernels.widest_decode_head or 0 in (*q.shape, *k.shape):
        return lean_decode_reference(q, k, v, kv_len, mask, scale, workers, tile)
    (B, H, S, d), Hk = q.shape, k.shape[1]
    workers = workers or plan(B, H, Hk, d, k.shape[2], _processors(q.device), S).grid
    workers = min(workers, B * Hk * -(-k.shape[2] // tile))                # with a tile each
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    lse = q.new_empty(q.shape[:3], dtype=torch.float32)
    seen = None if mask is None else mask.expand(B, H, S, k.shape[2])
    space = workspace(kernels.lean_decode_workspace(workers, B * Hk, H // Hk * S, d), q.device)
    kernels.lean_decode(
        q.detach().contiguous(), rows_side_by_side(k), rows_side_by_side(v), kv_len, seen, tile_starts(k, kv_len, tile),
        scale, workers, tile, out, lse, space, stream,
    )
    return out, lse


def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else _PROCESSORS


attach_cuda("lean_decode", lean_decode)
