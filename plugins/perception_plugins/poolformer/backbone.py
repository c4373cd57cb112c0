"""PoolFormer: the published sizes of a `MetaFormer` with pooling.

"MetaFormer Is Actually What You Need for Vision" (Yu et al., CVPR 2022), table 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.staged import MetaFormer
from perception.registry import MODELS

SMALL, MEDIUM = (64, 128, 320, 512), (96, 192, 384, 768)
VARIANTS: dict[str, tuple[tuple[int, ...], tuple[int, ...], float]] = {  # blocks and widths of the stages, layer scale
    "s12": ((2, 2, 6, 2), SMALL, 1e-5),
    "s24": ((4, 4, 12, 4), SMALL, 1e-5),
    "s36": ((6, 6, 18, 6), SMALL, 1e-6),
    "m36": ((6, 6, 18, 6), MEDIUM, 1e-6),
    "m48": ((8, 8, 24, 8), MEDIUM, 1e-6),
}


@MODELS.register_module(role="image_backbone")
class PoolFormer(MetaFormer):
    """A `MetaFormer` of a published size; maps of strides 4, 8, 16 and 32.

    Args:
        variant: "s12", "s24", "s36", "m36" or "m48".
        depths: blocks of each stage, instead of the variant's.
        widths: channels of each stage, instead of the variant's.
        ratios: hidden over outer width of the feed-forward layers of each stage.
        pool_size: side of the pooling window, odd.
        norm: "group" as published, or "layer".
        layer_scale: first value of the learned factors of the branches, instead of the variant's; 0 goes without.
        dropout: in the feed-forward layers.
        options: further arguments of a `MetaFormer`.

    Raises:
        ValueError: the variant is unknown, or as `MetaFormer` does.
    """

    def __init__(
        self,
        variant: str = "s12",
        *,
        depths: Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
        ratios: Sequence[float] = (4, 4, 4, 4),
        pool_size: int = 3,
        norm: str | Mapping[str, Any] = "group",
        layer_scale: float | None = None,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        published_depths, published_widths, published_scale = variant_of(VARIANTS, variant)
        super().__init__(
            published_depths if depths is None else depths,
            published_widths if widths is None else widths,
            token_mixer={"type": "PoolingMixer", "pool_size": pool_size},
            channel_mixer=[{"type": "FeedForward", "ratio": ratio, "dropout": dropout} for ratio in ratios],
            norm=norm,
            layer_scale=published_scale if layer_scale is None else layer_scale,
            **options,
        )
