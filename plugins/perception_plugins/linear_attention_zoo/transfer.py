"""Trained softmax attention in another form: what a Performer and a Longformer can begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from perception.models.mixers.attention import AttentionMixer
from perception.registry import MODELS

from .longformer import LongformerMixer
from .packed import PackedMixer
from .performer import PerformerMixer


@torch.no_grad()
def take_attention(mixer: nn.Module, attention: AttentionMixer) -> None:
    """Copy the weights of a softmax attention into a mixer that means the same by them.

    A Longformer's projections for its global tokens begin with those of all tokens. A bias that the attention goes
    without is 0.

    Raises:
        ValueError: the mixer is another one, which would have to be trained anew, or has other channels or heads.
    """
    if not isinstance(mixer, PerformerMixer | LongformerMixer):
        raise ValueError(
            f"only PerformerMixer and LongformerMixer can begin with the weights of attention, got "
            f"{type(mixer).__name__}"
        )
    ours, theirs = (mixer.proj.in_features, mixer.heads), (attention.channels, attention.heads)
    if ours != theirs:
        raise ValueError(f"the attention has {theirs[0]} channels and {theirs[1]} heads, got {ours[0]} and {ours[1]}")
    _copy(mixer.qkv, attention.in_proj)
    _copy(mixer.proj, attention.out_proj)
    if isinstance(mixer, LongformerMixer):
        _copy(mixer.global_qkv, attention.in_proj)


def replace_attention(network: nn.Module, config: Mapping[str, Any]) -> int:
    """Replace every `AttentionMixer` in a network, which keeps its weights, its number of heads and its causality.

    Args:
        network: changed in place.
        config: of the mixers, a `PerformerMixer` or a `LongformerMixer`; given ``channels``, ``heads``, ``causal``.

    Returns:
        How many were replaced.

    Raises:
        ValueError: the config is that of another mixer; the network is then as it was.
    """
    found = [
        (owner, name, child) for owner in network.modules() for name, child in owner.named_children()
        if isinstance(child, AttentionMixer)
    ]
    mixers = [_in_the_place_of(attention, config) for _, _, attention in found]
    for (owner, name, _), mixer in zip(found, mixers, strict=True):
        setattr(owner, name, mixer)
    return len(found)


def _in_the_place_of(attention: AttentionMixer, config: Mapping[str, Any]) -> PackedMixer:
    arguments = {"channels": attention.channels, "heads": attention.heads, "causal": attention.causal}
    mixer = MODELS.build({**config, **arguments}).to(attention.in_proj.weight)
    take_attention(mixer, attention)
    return mixer.train(attention.training)


def _copy(layer: nn.Linear, source: nn.Linear) -> None:
    layer.weight.copy_(source.weight)
    if source.bias is None:
        nn.init.zeros_(layer.bias)
    else:
        layer.bias.copy_(source.bias)
