"""TokenFormer as a backbone of pictures. The authors released no code for it: what is told here is our reading.

"TokenFormer: Rethinking Transformer Scaling with Tokenized Model Parameters" (Wang et al., ICLR 2025), section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.columnar import ColumnarFormer
from perception.registry import MODELS

from .layer import layer_mixers

VARIANTS: dict[str, tuple[int, int, int, int, int, int]] = {  # layers, width, heads; rows: qkv, proj, feed-forward
    "base": (12, 768, 12, 576, 576, 2304),               # rows by which it is as large as the ViT that the paper names
    "large": (24, 1024, 16, 768, 768, 3072),             # as many rows for its width
}


@MODELS.register_module(role="image_backbone")
class TokenFormer(ColumnarFormer):
    """A vision transformer whose projections are all `Pattention`; maps of stride 16.

    The paper tells widths and sizes; the embedding, learned positions, pooling and the numbers of rows are inferred.

    Args:
        variant: "base" or "large".
        depth, width, heads, qkv_slots, proj_slots, ffn_slots: instead of the variant's.
        slot_factor: times as many rows of all tables, rounded: see `grow_config`.
        activation: of the tables, see `Pattention`.
        patch: side of a patch.
        out_norm: a layer norm, one for all maps that are given, which a classifier reads too.
        options: further arguments of a `ColumnarFormer`.

    Raises:
        ValueError: the variant is unknown, or as `ColumnarFormer` and `PattentionMixer` do.
    """

    def __init__(
        self, variant: str = "base", *, depth: int | None = None, width: int | None = None, heads: int | None = None,
        qkv_slots: int | None = None, proj_slots: int | None = None, ffn_slots: int | None = None,
        slot_factor: float = 1.0, activation: str = "l2_norm_gelu", patch: int = 16,
        position: Sequence[int] | None = (14, 14), out_norm: bool = True, **options: Any,
    ) -> None:
        given = (depth, width, heads, qkv_slots, proj_slots, ffn_slots)
        depth, width, heads, qkv, proj, ffn = (
            own if other is None else other for own, other in zip(variant_of(VARIANTS, variant), given, strict=True)
        )
        tables = {"slot_factor": slot_factor, "activation": activation, "layers": depth}
        token_mixer, channel_mixer = layer_mixers(qkv, proj, ffn, tables, heads=heads)
        super().__init__(
            depth,
            width,
            token_mixer=token_mixer,
            channel_mixer=channel_mixer,
            norm={"type": "PlainLayerNorm"},
            stem={"type": "PatchEmbedding", "kernel": patch, "stride": patch, "padding": 0},
            position=position,
            out_norm=False,
            **options,
        )
        if out_norm:
            self.norm = nn.LayerNorm(width)
