"""How FlatFormer uses its units, for fusing two models by optimal transport."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.compression.fusion.declare import declares
from perception.compression.fusion.known_parts import into_stream, packed_attention
from perception.compression.fusion.plan import Axis, Flow, FusionPlan, join, rows_of_tokens

from .attention import GroupAttention
from .encoder import FlatFormer, FlatFormerLayer


@declares(FlatFormer)
def _flatformer(encoder: Any, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    for number, block in enumerate(encoder.blocks):
        for position, layer in enumerate(block.layers):
            _layer(layer, plan, join(name, "blocks", str(number), "layers", str(position)), reads[0])
    return reads


def _layer(layer: FlatFormerLayer, plan: FusionPlan, name: str, stream: Axis) -> None:
    mixer, place = layer.mixer, join(name, "mixer")
    if isinstance(mixer, GroupAttention):
        packed = packed_attention(plan, place, {"qkv": mixer.qkv, "proj": mixer.proj}, mixer.num_heads, stream)
        plan.observe(name, packed, _projected)
    else:
        into_stream(mixer, plan, place, stream)
    into_stream(layer.ffn, plan, join(name, "ffn"), stream)
    for norm in ("norm1", "norm2"):
        plan.vectors(join(name, norm), getattr(layer, norm), stream)
    plan.observe(name, stream, rows_of_tokens)


def _projected(layer: Any, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """Queries, keys and values (N, 3C) of a layer, which calls no module for them."""
    tokens, position, _ = inputs
    weights, biases = layer.mixer.qkv.weight.chunk(3), layer.mixer.qkv.bias.chunk(3)
    sources = (tokens + position, tokens + position, tokens)
    parts = [F.linear(x, weight, bias) for x, weight, bias in zip(sources, weights, biases, strict=True)]
    return torch.cat(parts, dim=1)
