"""lean_decode: exact attention of a few queries to a long memory, its keys cut evenly among workers.

"Lean Attention: Hardware-Aware Scalable Attention Mechanism for the Decode-Phase of Transformers" (2024).
The result is that of softmax attention; what changes is who reads which keys, see `stream_k`.
"""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import FLOATING, check_count, check_device, check_positive, check_tensor
from .dispatch import NATIVE, NATIVE_FLOATING, attach_native, is_native
from .softmax_parts import finalize, merge_all, partial_attention
from .stream_k import key_tile

MOST_TILE = 256                                      # keys of a tile on a CPU
TILE_NUMBERS = 1 << 16                               # keys and values of a tile that half of a small L2 cache holds


@overload
def lean_decode(
    q: Tensor, k: Tensor, v: Tensor, kv_len: Tensor | None = None, mask: Tensor | None = None, *,
    scale: float | None = None, workers: int | None = None, tile: int | None = None, return_lse: Literal[False] = False,
) -> Tensor: ...
@overload
def lean_decode(
    q: Tensor, k: Tensor, v: Tensor, kv_len: Tensor | None = None, mask: Tensor | None = None, *,
    scale: float | None = None, workers: int | None = None, tile: int | None = None, return_lse: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def lean_decode(
    q: Tensor, k: Tensor, v: Tensor, kv_len: Tensor | None = None, mask: Tensor | None = None, *,
    scale: float | None = None, workers: int | None = None, tile: int | None = None, return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Softmax attention for decoding, differentiable in ``q``, ``k`` and ``v``.

    Args:
        q: (B, H, S, d) queries, any floating dtype; S is small.
        k, v: (B, Hk, T, d) keys and values, likewise; H is a multiple of Hk, and neighbouring query heads share a key
            head. Rows lie anywhere, so a cache with room to spare is read in place.
        kv_len: (B,) int64 in [0, T], keys that each sequence has; None has all. Those behind may be anything.
        mask: bool, broadcast to (B, H, S, T): True where a query may see a key.
        scale: factor of the products; None is d^-0.5.
        workers: that share the keys; None is one a thread, or what `plan` has for the device. The result depends on
            their number by rounding only, and is the same in every run.
        tile: keys that are dealt out together; None is what suits the cache or, on a GPU, the released kernels.
        return_lse: give the logarithm of the sum of exp(logit) too.

    Returns:
        (B, H, S, d), 0 where a query sees no key; with ``return_lse`` also (B, H, S), float32 at least, -inf there.
        Sums of half precision run in float32.

    Raises:
        ValueError: wrong shapes or dtypes, heads that do not divide, a length out of range.
    """
    _check(q, k, v, kv_len, mask)
    for name, number in (("workers", workers), ("tile", tile)):
        if number is not None:
            check_positive(**{name: number})
            check_count(name, number)
    scale = q.shape[3] ** -0.5 if scale is None else scale
    tile = default_tile(q.shape[3], q.device) if tile is None else tile
    arguments = (q, k, v, kv_len, mask, scale, workers or 0, tile)
    if is_native("lean_decode", q.device):
        out, lse = torch.ops.perception.lean_decode(*arguments)
    elif kv_len is None and mask is None and k.shape[2] and not return_lse:
        return F.scaled_dot_product_attention(q, k, v, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
    else:
        out, lse = lean_decode_reference(*arguments)           # torch knows its gradient, and can export it
    return (out, lse) if return_lse else out


def default_tile(head_dim: int, device: torch.device) -> int:
    """Keys of a tile where none are asked for."""
    if device.type == "cuda":
        return key_tile(head_dim)
    return max(16, min(MOST_TILE, TILE_NUMBERS // (2 * head_dim)))


def lean_decode_reference(
    q: Tensor, k: Tensor, v: Tensor, kv_len: Tensor | None, mask: Tensor | None, scale: float, workers: int, tile: int
) -> tuple[Tensor, Tensor]:
    """The same in tensor algebra: all tiles at once, joined in a tree; ``workers`` are no matter here."""
    Hk, T = k.shape[1:3]
    seen = seen_keys(q, k, kv_len, mask)
    k, v = within_lengths(k, kv_len), within_lengths(v, kv_len)
    splits = max(1, -(-T // tile))
    spare = splits * tile - T if splits > 1 else 0
    if spare:
        k, v = (F.pad(x, (0, 0, 0, spare)) for x in (k, v))
        seen = k.new_ones(1, 1, 1, T, dtype=torch.bool) if seen is None else seen
        seen = F.pad(seen, (0, spare))
    size = (splits, k.shape[2] // splits)
    k, v = (x.unflatten(2, size) for x in (k, v))                                           # (B, Hk, splits, tile, d)
    if seen is not None:
        seen = seen.unflatten(3, size).transpose(2, 3)                                      # (.., .., splits, R, tile)
    part = partial_attention(rows_of(q, Hk)[:, :, None], k, v, scale, seen)                 # (B, Hk, splits, R[, d])
    out, lse = finalize(merge_all(part, 2))
    return out.to(q.dtype).reshape(q.shape), lse.reshape(q.shape[:3])


def rows_of(x: Tensor, key_heads: int) -> Tensor:
    """(B, H, S, ..) -> (B, Hk, R, ..): the queries of the R = H / Hk * S rows that share a key head."""
    return x.unflatten(1, (key_heads, x.shape[1] // key_heads)).flatten(2, 3)


def seen_keys(q: Tensor, k: Tensor, kv_len: Tensor | None, mask: Tensor | None) -> Tensor | None:
    """Lengths and mask as one mask of the rows of a key head, (1 or B, 1 or Hk, 1 or R, T) with R = H / Hk * S."""
    if mask is not None and not mask.shape[1] == mask.shape[2] == 1:
        mask = rows_of(mask.expand(-1, *q.shape[1:3], -1), k.shape[1])
    if kv_len is None:
        return mask
    within = torch.arange(k.shape[2], device=k.device) < kv_len[:, None, None, None]        # (B, 1, 1, T)
    return within if mask is None else mask & within


def within_lengths(x: Tensor, kv_len: Tensor | None) -> Tensor:
    """Keys or values with 0 behind each length: what lies there may be NaN, which no weight of 0 takes away."""
    if kv_len is None:
        return x
    return x.masked_fill(torch.arange(x.shape[2], device=x.device)[:, None] >= kv_len[:, None, None, None], 0.0)


def lean_decode_backward(
    grad: Tensor, grad_lse: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, kv_len: Tensor | None,
    mask: Tensor | None, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v from the saved logarithm: with p = exp(s - lse) the weights are never summed again."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    query, given, mixed = (rows_of(x.to(dtype), k.shape[1]) for x in (q, grad, out))        # (B, Hk, R, d)
    key, value = (within_lengths(x.to(dtype), kv_len) for x in (k, v))                      # (B, Hk, T, d)
    logits = query @ key.transpose(2, 3) * scale
    seen = seen_keys(q, k, kv_len, mask)
    logits = logits if seen is None else logits.masked_fill(~seen, -torch.inf)
    normalizer = rows_of(lse.masked_fill(lse == -torch.inf, 0.0), k.shape[1])[..., None]
    weights = (logits - normalizer).exp()                                                   # (B, Hk, R, T)
    mean = (given * mixed).sum(3, keepdim=True) - rows_of(grad_lse.to(dtype), k.shape[1])[..., None]
    slopes = weights * (given @ value.transpose(2, 3) - mean) * scale
    grad_q = (slopes @ key).reshape(q.shape)
    grad_k, grad_v = slopes.transpose(2, 3) @ query, weights.transpose(2, 3) @ given
    return grad_q.to(q.dtype), grad_k.to(k.dtype), grad_v.to(v.dtype)


def tile_starts(k: Tensor, kv_len: Tensor | None, tile: int) -> Tensor:
    """(B + 1,) int64: tiles of one key head of all sequences before each; what the kernels cut the line by."""
    whole = k.new_full((k.shape[0],), k.shape[2], dtype=torch.int64)
    lengths = whole if kv_len is None else kv_len.clamp(min=0).minimum(whole)
    return F.pad(((lengths + tile - 1) // tile).cumsum(0), (1, 0))


def rows_side_by_side(x: Tensor) -> Tensor:
    """The tensor without gradient, copied only if the numbers of a row are apart."""
    x = x.detach()
    return x if x.stride(3) == 1 or x.shape[3] == 1 else x.contiguous()


def _check(q: Tensor, k: Tensor, v: Tensor, kv_len: Tensor | None, mask: Tensor | None) -> None:
    check_tensor("q", q, ("B", "H", "S", "d"), FLOATING)
    check_tensor("k", k, (q.shape[0], "Hk", "T", q.shape[3]), (q.dtype,))
    check_tensor("v", v, tuple(k.shape), (q.dtype,))
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise ValueError(f"q must have a multiple of the {k.shape[1]} heads of k, got {q.shape[1]}")
    if q.shape[3] == 0:
        raise ValueError("q must have at least one channel a head, got 0")
    if kv_len is not None:
        check_tensor("kv_len", kv_len, (q.shape[0],), (torch.int64,))
        if kv_len.device.type == "cpu" and not torch.compiler.is_compiling() and len(kv_len):
            lowest, highest = (int(bound) for bound in kv_len.aminmax())
            if lowest < 0 or highest > k.shape[2]:
                raise ValueError(f"kv_len must lie in [0, {k.shape[2]}], got {lowest if lowest < 0 else highest}")
    if mask is not None:
        wanted = tuple(
            have if have == 1 else want
            for have, want in zip(mask.shape, (*q.shape[:3], k.shape[2]), strict=False)
        )
        check_tensor("mask", mask, wanted if mask.ndim == 4 else ("B", "H", "S", "T"), (torch.bool,))
    check_device("q", q, k=k, v=v, kv_len=kv_len, mask=mask)


def _lean_decode_cpu(
    q: Tensor, k: Tensor, v: Tensor, kv_len: Tensor | None, mask: Tensor | None, scale: float, workers: int, tile: int
) -> tuple[Tensor, Tensor]:
    if q.dtype not in NATIVE_FLOATING:
        return lean_decode_reference(q, k, v, kv_len, mask, scale, workers, tile)
    assert NATIVE is not None
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    lse = q.new_empty(q.shape[:3], dtype=torch.float32)
    threads = torch.get_num_threads()
    seen = None if mask is None else mask.expand(*q.shape[:3], k.shape[2])
    NATIVE.lean_decode(
        q.detach().contiguous(), rows_side_by_side(k), rows_side_by_side(v), kv_len, seen, tile_starts(k, kv_len, tile),
        scale, workers or threads, tile, out, lse, threads,
    )
    return out, lse


_op = torch.library.custom_op("perception::lean_decode", lean_decode_reference, mutates_args=())
attach_native("lean_decode", _lean_decode_cpu)


@_op.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, kv_len: Tensor | None, mask: Tensor | None, scale: float, workers: int, tile: int
) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(q.dtype, torch.float32)
    return torch.empty_like(q, memory_format=torch.contiguous_format), q.new_empty(q.shape[:3], dtype=dtype)


def _save(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    q, k, v, kv_len, mask, ctx.scale, _, _ = inputs
    ctx.save_for_backward(q, k, v, *output, kv_len, mask)


def _backward(ctx: Any, grad: Tensor, grad_lse: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, out, lse, kv_len, mask = ctx.saved_tensors
    grads = lean_decode_backward(grad, grad_lse, q, k, v, out, lse, kv_len, mask, ctx.scale)
    return *grads, None, None, None, None, None


_op.register_autograd(_backward, setup_context=_save)
