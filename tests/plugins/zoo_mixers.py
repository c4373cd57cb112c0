"""Small mixers of the linear attention zoo, and dense attention under a matrix of who sees whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from perception.models.attention.heads import together
from perception_plugins.linear_attention_zoo import (
    LinearAttentionMixer,
    LinformerMixer,
    LongformerMixer,
    PerformerMixer,
    ReformerMixer,
)
from perception_plugins.linear_attention_zoo.packed import PackedMixer

CHANNELS, HEADS = 16, 2
BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "longformer": lambda **options: LongformerMixer(CHANNELS, heads=HEADS, **{"window": 3, **options}),
    "longformer_dilated": lambda **options: LongformerMixer(
        CHANNELS, heads=HEADS, window=2, dilation=3, global_tokens=2, **options
    ),
    "reformer": lambda **options: ReformerMixer(CHANNELS, heads=HEADS, buckets=4, chunk=5, **options),
    "linformer": lambda **options: LinformerMixer(CHANNELS, heads=HEADS, tokens=200, rank=6, **options),
    "linformer_shared": lambda **options: LinformerMixer(
        CHANNELS, heads=HEADS, tokens=200, rank=6, share="kv", per_head=True, **options
    ),
    "performer": lambda **options: PerformerMixer(CHANNELS, heads=HEADS, **options),
    "performer_relu": lambda **options: PerformerMixer(CHANNELS, heads=HEADS, kind="relu", **options),
    "linear": lambda **options: LinearAttentionMixer(CHANNELS, heads=HEADS, **options),
}
STREAMING = ("longformer", "longformer_dilated", "performer", "performer_relu", "linear")


def build(name: str, dtype: torch.dtype = torch.float64, **options: Any) -> nn.Module:
    """A mixer with weights of some size and biases, in evaluation mode."""
    torch.manual_seed(0)
    mixer = BUILDERS[name](**options)
    with torch.no_grad():
        for layer in mixer.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(std=0.4)
                layer.bias.normal_(std=0.3)
    return mixer.to(dtype).eval()


def tokens(count: int, batch: int = 2, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    """Seeded tokens (B, N, C)."""
    return torch.randn(batch, count, CHANNELS, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def holes(count: int) -> Tensor:
    """(2, N) bool: the last quarter of the first row is masked, and a hole and the first token of the second."""
    mask = torch.ones(2, count, dtype=torch.bool)
    mask[0, count - count // 4 :] = False
    mask[1, [0, count // 2]] = False
    return mask


def dense_attention(mixer: PackedMixer, x: Tensor, allowed: Tensor) -> Tensor:
    """Softmax attention of a mixer's projections under a matrix (.., N, N) of who sees whom, before the output."""
    q, k, v = mixer.project(x)
    logits = (q @ k.mT / q.shape[3] ** 0.5).masked_fill(~allowed, -torch.inf)
    return mixer.proj(together(logits.softmax(dim=3).nan_to_num() @ v))
