"""FlatFormer's encoder in plain torch, as one would write it without native kernels: what it is timed against."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from perception_ops.window_partition import window_partition_reference

from .encoder import FlatFormer, FlatFormerLayer
from .position_code import position_code


def plain_encode(encoder: FlatFormer, features: Tensor, coords: Tensor, batch_size: int) -> Tensor:
    """What ``encoder.encode`` gives, from its parameters: tokens are gathered into groups, projected, mixed by torch's
    scaled_dot_product_attention and brought back, layer by layer.

    Args:
        encoder: with the default mixer.
        features: (N, C) pillars.
        coords: (N, 4) int32 (batch, z, y, x), ordered by batch.
        batch_size: number of samples.
    """
    size = encoder.group_size
    orders, flat2win, win2flat, valid = window_partition_reference(
        coords, batch_size, encoder.grid, encoder.window, size
    )
    code = position_code(
        coords, encoder.channels, temperature=encoder.temperature,
        grid=encoder.grid if encoder.normalize_position else None,
    )                                                                                    # (N, C)
    mask = None if bool(valid.all()) else valid.view(-1, 1, 1, size)                     # (G, 1, 1, S)
    slots = [order[flat2win] for order in orders]                                        # (P,) token by slot
    backs = [torch.empty_like(order).scatter_(0, order, win2flat) for order in orders]   # (N,) slot by token
    codes = [code[slot].unflatten(0, (-1, size)) for slot in slots]                      # (G, S, C)
    for block in encoder.blocks:
        layers: Any = block.layers                 # a ModuleList's members have no types
        for layer, slot, back, position in zip(layers, slots, backs, codes, strict=True):
            features = _plain_layer(layer, features, slot, back, position, mask)
    return features


def _plain_layer(
    layer: FlatFormerLayer, tokens: Tensor, slots: Tensor, back: Tensor, position: Tensor, mask: Tensor | None
) -> Tensor:
    """(N, C) -> (N, C)."""
    groups = tokens[slots].view_as(position)                                             # (G, S, C)
    mixer, (G, S, C) = layer.mixer, groups.shape
    weight_qk, weight_v = mixer.qkv.weight.split((2 * C, C))
    bias_qk, bias_v = mixer.qkv.bias.split((2 * C, C))
    q, k = F.linear(groups + position, weight_qk, bias_qk).view(G, S, 2, mixer.num_heads, -1).permute(2, 0, 3, 1, 4)
    v = F.linear(groups, weight_v, bias_v).view(G, S, mixer.num_heads, -1).transpose(1, 2)   # (G, heads, S, D)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)                      # (G, heads, S, D)
    mixed = mixer.proj(mixed.transpose(1, 2).reshape(G * S, C))                          # (P, C)
    tokens = layer.norm1(tokens + mixed[back])
    return layer.norm2(tokens + layer.ffn.fc2(F.gelu(layer.ffn.fc1(tokens))))
