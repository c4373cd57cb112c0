"""SLAB on PVT and PVTv2 ("PVT v2: Improved Baselines with Pyramid Vision Transformer", Wang et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.norm import token_norm
from perception.models.metaformer.patch_embedding import PositionMap
from perception.models.metaformer.staged import MetaFormerStage
from perception.registry import MODELS

from .pyramid import LINEAR, Norm, SlabPyramid, attention_letters

WIDE = (64, 128, 320, 512)
VARIANTS: dict[str, tuple[int, ...]] = {             # blocks of the stages
    "tiny": (2, 2, 2, 2), "small": (3, 4, 6, 3), "medium": (3, 4, 18, 3), "large": (3, 8, 27, 3),
}
VARIANTS_V2: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {  # widths and blocks
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2)), "b1": (WIDE, (2, 2, 2, 2)), "b2": (WIDE, (3, 4, 6, 3)),
}
HEADS, RATIOS = (1, 2, 5, 8), (8, 8, 4, 4)
NORM: dict[str, Any] = {"type": "PRepBN", "steps": 300_000, "eps": 1e-6}


@MODELS.register_module(role="image_backbone")
class SlabPVT(SlabPyramid):
    """Stages of attention behind patches that do not overlap, with learned positions.

    Args:
        variant: "tiny", "small", "medium" or "large".
        widths, depths, heads, ratios: of the stages, instead of the variant's.
        attention: for each stage, "L" for simplified linear attention or "S" for softmax with a reduction.
        reductions: of the keys of each stage with softmax.
        linear_reductions: of the keys of each stage with linear attention; 1 as published.
        patch: side of a patch, 4 as published.
        resolution: side of the map of stage 0 that positions are learned for; they are resized for other maps.
        qkv_bias: the projections to queries, keys and values have a bias.
        norm: of everything, see `token_norm`.
        options: further arguments of a `SlabPyramid`.

    Raises:
        ValueError: the variant is unknown, or as `MetaFormer` and the mixers do.
    """

    def __init__(
        self, variant: str = "tiny", *, widths: Sequence[int] = WIDE, depths: Sequence[int] | None = None,
        heads: Sequence[int] = HEADS, ratios: Sequence[float] = RATIOS, attention: str = "LLLL",
        reductions: Sequence[int] = (8, 4, 2, 1), linear_reductions: Sequence[int] = (1, 1, 1, 1), patch: int = 4,
        resolution: int = 56, qkv_bias: bool = True, norm: Norm = NORM, **options: Any,
    ) -> None:
        depths = variant_of(VARIANTS, variant) if depths is None else depths
        sides = [resolution // 2**stage for stage in range(len(depths))]
        mixers: list[dict[str, Any]] = []
        for stage, letter in enumerate(attention_letters(attention, len(depths))):
            mixer: dict[str, Any] = {
                "type": "SlabReducedAttention", "heads": heads[stage], "reduction": reductions[stage], "norm": norm,
                "qkv_bias": qkv_bias,
            }
            if letter == LINEAR:
                reduction = linear_reductions[stage]
                side = sides[stage] // reduction
                mixer |= {"type": "ReducedLinearAttention", "reduction": reduction, "position": (side, side)}
            mixers.append(mixer)
        super().__init__(
            depths, widths, ratios=ratios, token_mixer=mixers, norm=norm, positions=[(side, side) for side in sides],
            stem={"type": "PatchEmbedding", "kernel": patch, "stride": patch, "padding": 0, "norm": norm},
            downsample={"type": "PatchEmbedding", "kernel": 2, "stride": 2, "padding": 0, "norm": norm},
            **options,
        )
        for module in self.modules():
            if isinstance(module, PositionMap):
                module.mode = "bilinear"


class StageEnd(nn.Module):
    """A norm behind the blocks of a stage, in the place of one.

    Args:
        norm: see `token_norm`.
        channels: width C.
    """

    def __init__(self, norm: Norm, channels: int) -> None:
        super().__init__()
        self.norm = token_norm(norm, channels)

    def forward(self, tokens: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.norm(tokens)


@MODELS.register_module(role="image_backbone")
class SlabPVTv2(SlabPyramid):
    """Stages of simplified linear attention behind patches that overlap, with convolutions in the feed-forward nets.

    A norm ends each stage. It can't be folded, since the convolution behind it sees zeros at the border of the map.

    Args:
        variant: "b0", "b1" or "b2".
        widths, depths, heads, ratios: of the stages, instead of the variant's.
        resolution: side of the map of stage 0 that positions of keys are learned for; resized for other maps.
        norm: of everything, see `token_norm`.
        options: further arguments of a `SlabPyramid`.

    Raises:
        ValueError: the variant is unknown, or as `MetaFormer` and the mixers do.
    """

    def __init__(
        self, variant: str = "b0", *, widths: Sequence[int] | None = None, depths: Sequence[int] | None = None,
        heads: Sequence[int] = HEADS, ratios: Sequence[float] = RATIOS, resolution: int = 56, norm: Norm = NORM,
        **options: Any,
    ) -> None:
        own_widths, own_depths = variant_of(VARIANTS_V2, variant)
        widths, depths = own_widths if widths is None else widths, own_depths if depths is None else depths
        sides = [resolution // 2**stage for stage in range(len(depths))]
        mixers = [
            {"type": "ReducedLinearAttention", "heads": count, "position": (side, side)}
            for count, side in zip(heads, sides, strict=True)
        ]
        super().__init__(
            depths, widths, ratios=ratios, feed_forward="DepthwiseFeedForward", token_mixer=mixers, norm=norm,
            stem={"type": "PatchEmbedding", "kernel": 7, "stride": 4, "padding": 3, "norm": norm},
            downsample={"type": "PatchEmbedding", "kernel": 3, "stride": 2, "padding": 1, "norm": norm},
            **options,
        )
        for stage, width in zip(self.stages, widths, strict=False):
            assert isinstance(stage, MetaFormerStage)
            stage.blocks.append(StageEnd(norm, width))

    def init_weights(self) -> None:
        """Linear layers truncated normal, convolutions by their fan out, biases zero."""
        super().init_weights()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
