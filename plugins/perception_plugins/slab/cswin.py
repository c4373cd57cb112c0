"""SLAB on CSWin ("CSWin Transformer", Dong et al., CVPR 2022): attention within stripes, linear in the first stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perception.models.backbone_arguments import variant_of
from perception.registry import MODELS

from .pyramid import LINEAR, Norm, SlabPyramid, attention_letters

VARIANTS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]] = {  # width of stage 0, blocks, heads
    "tiny": (64, (2, 4, 18, 1), (2, 4, 8, 16)),
    "small": (64, (2, 4, 32, 2), (2, 4, 8, 16)),
}
NORM: dict[str, Any] = {"type": "PRepBN", "steps": 120_000, "eps": 1e-5}


@MODELS.register_module(role="image_backbone")
class SlabCSWin(SlabPyramid):
    """Stages of attention within stripes of two directions, or within the whole map.

    A stage attends within the whole map if it is the last, or if its split is the side of its map at the size that the
    network is made for. Stripes need not fill a map: the last one is smaller then.

    Args:
        variant: "tiny" or "small".
        width, depths, heads: of stage 0 and of each stage, instead of the variant's.
        attention: for each stage, "L" for simplified linear attention or "S" for softmax.
        splits: width of the stripes of each stage with softmax.
        linear_splits: of each stage with linear attention.
        resolution: side of the map of stage 0 that positions are learned for; they are resized for other maps.
        ratio: hidden over outer width of the feed-forward nets.
        norm: of everything, see `token_norm`.
        options: further arguments of a `SlabPyramid`.

    Raises:
        ValueError: the variant is unknown, or as `MetaFormer` and the mixers do.
    """

    def __init__(
        self, variant: str = "tiny", *, width: int | None = None, depths: Sequence[int] | None = None,
        heads: Sequence[int] | None = None, attention: str = "LLSS", splits: Sequence[int] = (1, 2, 7, 7),
        linear_splits: Sequence[int] = (56, 28, 14, 7), resolution: int = 56, ratio: float = 4.0, norm: Norm = NORM,
        **options: Any,
    ) -> None:
        own_width, own_depths, own_heads = variant_of(VARIANTS, variant)
        width, depths = own_width if width is None else width, own_depths if depths is None else depths
        heads, count = own_heads if heads is None else heads, len(depths)
        mixers: list[dict[str, Any]] = []
        for stage, letter in enumerate(attention_letters(attention, count)):
            split, side = (linear_splits if letter == LINEAR else splits)[stage], resolution // 2**stage
            is_whole = stage == count - 1 or split == side
            mixers.append({
                "type": "SlabStripeAttention", "heads": heads[stage], "split": None if is_whole else split,
                "linear": letter == LINEAR, "resolution": (side, side),
            })
        super().__init__(
            depths, [width * 2**stage for stage in range(count)], ratios=[ratio] * count, token_mixer=mixers, norm=norm,
            stem={"type": "PatchEmbedding", "kernel": 7, "stride": 4, "padding": 2, "norm": norm},
            downsample={"type": "PatchEmbedding", "kernel": 3, "stride": 2, "padding": 1, "norm": norm},
            **options,
        )
