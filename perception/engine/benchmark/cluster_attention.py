"""Cross-attention in which each pixel gives itself to one cluster, against softmax over the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from .memory import peak_mib
from .rows import Row, compared
from .setting import Setting
from .timing import Call, interleaved_ms

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]       # (B, D, N), (B, D, P), (B, C, P) -> (B, C, N)

KEYS, VALUES = 128, 256                                      # widths, those of kMaX-DeepLab
FORWARD, BACKWARD = "forward", "forward and backward"


def softmax_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Softmax over the pixels as two products: (B, D, N), (B, D, P), (B, C, P) -> (B, C, N)."""
    weights = (queries.mT @ keys).softmax(dim=2)                                           # (B, N, P)
    return values @ weights.mT


def fused_softmax_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The same by torch's fused operator, which scales the logits too."""
    q, k, v = (part.mT[:, None] for part in (queries, keys, values))                       # (B, 1, N or P, D or C)
    return F.scaled_dot_product_attention(q, k, v)[:, 0].mT


def benchmark_cluster_attention(
    kmeans: Attention, setting: Setting, *, size: Sequence[int], strides: Sequence[int] = (32, 16, 8),
    clusters: int = 128, repeats: int = 11,
) -> Iterator[Row]:
    """Time an attention of clusters to pixels and the two forms of softmax attention in turn.

    Args:
        kmeans: queries of clusters, keys and values of pixels -> what each cluster gets.
        setting: dtype of the tensors, device, and the machine's limits.
        size: height and width of the picture.
        strides: of the maps.
        clusters: N.
        repeats: rounds.

    Yields:
        Three rows a stride for the forward pass, and three for it with the gradients of queries, keys and values (which
        in k-means are those of the values alone); the reference is softmax as two products.
    """
    for stride in strides:
        pixels = ceil(size[0] / stride) * ceil(size[1] / stride)
        draw = torch.Generator().manual_seed(0)
        shapes = ((KEYS, clusters), (KEYS, pixels), (VALUES, pixels))
        inputs = [torch.randn(1, *shape, generator=draw).to(setting.device, setting.dtype) for shape in shapes]
        cotangent = torch.randn(1, VALUES, clusters, generator=draw).to(setting.device)
        named = {
            "k-means": kmeans, "softmax, two products": softmax_attention, "softmax, fused": fused_softmax_attention
        }
        for stage in (FORWARD, BACKWARD):
            if stage == FORWARD:
                calls: list[Call] = [torch.inference_mode()(partial(run, *inputs)) for run in named.values()]
            else:
                calls = [partial(_with_gradients, run, inputs, cotangent) for run in named.values()]
            times = interleaved_ms(calls, repeats, setting.device)                         # (rounds, 3)
            for name, own, call in zip(named, times.T, calls, strict=True):
                yield setting.row(
                    f"{name}, 1/{stride}", pixels, stage=stage, **compared(own, times[:, 1]),
                    peak_mib=peak_mib(call, setting.device),
                )


def _with_gradients(run: Attention, inputs: Sequence[Tensor], cotangent: Tensor) -> tuple[Tensor | None, ...]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    out = run(*leaves)
    return torch.autograd.grad(out, leaves, cotangent.to(out.dtype), allow_unused=True)
