"""One layer of TokenFormer, and how it goes on from the tokens before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from perception.models.attention.cache import KeyValueCache
from perception.models.metaformer.block import MetaFormerBlock


def tokenformer_layer(
    channels: int, *, qkv_slots: int, proj_slots: int, ffn_slots: int, norm_eps: float = 1e-5,
    tables: Mapping[str, Any] | None = None, **attention: Any,
) -> MetaFormerBlock:
    """Pre-norm layer: Pattention attention, then one Pattention, each beside a shortcut; the norms learn nothing.

    Args:
        channels: width C.
        qkv_slots, proj_slots, ffn_slots: rows of the tables of queries, keys and values each; behind the attention; of
            the feed-forward part.
        norm_eps: added to the variance.
        tables: what both mixers are told of theirs: slot_factor, activation, dropout, layers.
        attention: further arguments of the `PattentionMixer`.
    """
    return MetaFormerBlock(
        channels, *layer_mixers(qkv_slots, proj_slots, ffn_slots, tables, **attention),
        norm={"type": "PlainLayerNorm", "eps": norm_eps},
    )


def layer_mixers(
    qkv_slots: int, proj_slots: int, ffn_slots: int, tables: Mapping[str, Any] | None = None, **attention: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configs of the two mixers of a layer; arguments as `tokenformer_layer`."""
    common = dict(tables or {})
    mixer = {"type": "PattentionMixer", "qkv_slots": qkv_slots, "proj_slots": proj_slots, **attention, **common}
    return mixer, {"type": "PattentionFeedForward", "slots": ffn_slots, **common}


def extend_layer(
    layer: MetaFormerBlock, tokens: Tensor, cache: KeyValueCache | None = None
) -> tuple[Tensor, KeyValueCache]:
    """The next tokens (B, T, C) of a sequence through a causal layer in evaluation; see `PattentionMixer.extend`."""
    mixed, cache = layer.token_mixer.extend(layer.norm1(tokens), cache)
    tokens = tokens + mixed
    return tokens + layer.channel_mixer(layer.norm2(tokens)), cache
