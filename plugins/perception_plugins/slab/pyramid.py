"""What SLAB's hosts of four stages share: a `MetaFormer` whose norms fold, and layer norms for dense heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from perception.models.metaformer.staged import MetaFormer

Norm = str | Mapping[str, Any]
LINEAR, SOFTMAX = "L", "S"


class SlabPyramid(MetaFormer):
    """Maps of strides 4, 8, 16 and 32.

    Args:
        depths: blocks of each stage.
        widths: channels of each stage.
        ratios: hidden over outer width of the feed-forward nets of each stage.
        feed_forward: type of these nets.
        out_norms: a layer norm for each map that is given; the next stage reads the map without it.
        options: further arguments of a `MetaFormer`.

    Raises:
        ValueError: as `MetaFormer` does.
    """

    def __init__(
        self, depths: Sequence[int], widths: Sequence[int], *, ratios: Sequence[float],
        feed_forward: str = "FeedForward", out_norms: bool = False, **options: Any,
    ) -> None:
        super().__init__(
            depths, widths, channel_mixer=[{"type": feed_forward, "ratio": ratio} for ratio in ratios], layer_scale=0.0,
            **options,
        )
        if out_norms:
            self.out_norms = nn.ModuleDict({
                str(stage): nn.LayerNorm(width) for stage, width in zip(self.out_indices, self.channels, strict=True)
            })


def attention_letters(attention: str, stages: int) -> str:
    """The letters that say which attention each stage has.

    Raises:
        ValueError: they are not as many as stages, or other than L (linear) and S (softmax).
    """
    if len(attention) != stages or set(attention) - {LINEAR, SOFTMAX}:
        raise ValueError(f"attention must be a letter L or S for each of the {stages} stages, got {attention!r}")
    return attention
