"""The prunable layers of the core."""

from __future__ import annotations

from torch import nn

from perception.models.attention.packed import PackedAttention
from perception.models.metaformer.block import MetaFormerBlock
from perception.models.mixers.feed_forward import FeedForward

from .layers import Heads, Hidden, PrunableLayer, prunes


@prunes(MetaFormerBlock)
def _metaformer_block(block: MetaFormerBlock) -> PrunableLayer:
    return PrunableLayer(
        block, "token_mixer", "channel_mixer", heads_of(block.token_mixer), hidden_of(block.channel_mixer),
        "norm1", "norm2",
    )


def heads_of(mixer: nn.Module) -> Heads | None:
    """The heads of a packed attention."""
    if not isinstance(mixer, PackedAttention):
        return None
    return Heads(mixer, "heads", ((mixer.in_proj, 3),), mixer.out_proj)


def hidden_of(mixer: nn.Module) -> Hidden | None:
    """The hidden channels of a feed-forward part."""
    return Hidden(mixer.fc1, mixer.fc2) if isinstance(mixer, FeedForward) else None
