"""Operations that torch's ONNX exporter does not translate, or not in every shape, in ONNX (opset 18)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch


def stable_sort(self: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """aten::sort.stable: TopK of all, which among equals takes the lower index first."""
    op = _opset()
    size = op.Reshape(op.Gather(op.Shape(self), op.Constant(value_int=dim), axis=0), op.Constant(value_ints=[1]))
    return op.TopK(self, size, axis=dim, largest=int(descending), sorted=1)


def attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:
    """aten::scaled_dot_product_attention in evaluation; torch's own translation takes four dimensions alone.

    Raises:
        NotImplementedError: the mask is the causal one, or heads share keys.
    """
    if is_causal or enable_gqa:
        raise NotImplementedError("causal attention and shared keys have no translation to ONNX")
    op = _opset()
    rank, width = len(query.shape), query.shape[-1]
    turned = op.Transpose(key, perm=[*range(rank - 2), rank - 1, rank - 2])
    factor = op.CastLike(op.Constant(value_float=scale or 1.0 / math.sqrt(width)), query)
    logits = op.MatMul(op.Mul(query, factor), turned)                        # (..., S, S)
    if attn_mask is not None and attn_mask.dtype.name == "BOOL":
        logits = op.Where(attn_mask, logits, op.CastLike(op.Constant(value_float=-math.inf), query))
    elif attn_mask is not None:
        logits = op.Add(logits, attn_mask)
    return op.MatMul(op.Softmax(logits, axis=-1), value)


def index_add(self: Any, dim: int, index: Any, source: Any, alpha: float = 1.0) -> Any:
    """aten::index_add: ScatterElements, which adds row after row.

    Torch's own translation is ScatterND, whose threads overwrite each other's sums in onnxruntime where rows share an
    index (its issue 18048).
    """
    op = _opset()
    ones = [1] * len(source.shape)
    ones[dim] = -1
    places = op.Expand(op.Reshape(index, op.Constant(value_ints=ones)), op.Shape(source))
    if alpha != 1:
        source = op.Mul(source, op.CastLike(op.Constant(value_float=float(alpha)), source))
    return op.ScatterElements(self, places, source, axis=dim, reduction="add")


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The table that `torch.onnx.export` takes."""
    aten = torch.ops.aten
    return {
        aten.sort.stable: stable_sort, aten.scaled_dot_product_attention.default: attention,
        aten.index_add.default: index_add,
    }


def _opset() -> Any:
    """ONNX's operations; what they take has no types that Python's checkers could follow."""
    import onnxscript

    return onnxscript.opset18
