"""The layers of FlatFormer, for pruning by accuracy."""

from __future__ import annotations

from perception.compression.pruning.layers import Heads, PrunableLayer, prunes
from perception.compression.pruning.metaformer_layers import hidden_of

from .attention import GroupAttention
from .encoder import FlatFormerLayer


@prunes(FlatFormerLayer)
def _layer(layer: FlatFormerLayer) -> PrunableLayer:
    mixer = layer.mixer
    heads = Heads(mixer, "num_heads", ((mixer.qkv, 3),), mixer.proj) if isinstance(mixer, GroupAttention) else None
    return PrunableLayer(layer, "mixer", "ffn", heads, hidden_of(layer.ffn))
