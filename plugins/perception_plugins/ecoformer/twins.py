"""Twins-SVT with EcoFormer's attention in place of its local and its reduced global one.

"Twins: Revisiting the Design of Spatial Attention in Vision Transformers" (Chu et al., NeurIPS 2021);
"EcoFormer: Energy-Saving Attention with Linear Complexity" (Liu et al., NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.patch_embedding import PatchEmbedding
from perception.models.metaformer.staged import MetaFormerStage
from perception.models.token_layout import checked_size, keep_real, map_of, tokens_of
from perception.registry import MODELS

from .host import PUBLISHED, BlockPlan, HostBackbone, check_stages

VARIANTS = {"svt_s": ((64, 128, 256, 512), (2, 2, 10, 4), (2, 4, 8, 16))}       # widths, blocks, heads of the stages


class ConditionalPosition(nn.Module):
    """Tells tokens where they are: a depthwise 3x3 convolution of their map, which sees the border, beside a shortcut.

    "Conditional Positional Encodings for Vision Transformers" (Chu et al., ICLR 2023).

    Args:
        channels: width C of the tokens.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, tokens: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C); where ``mask`` (B, N) is False they count as 0.

        Raises:
            ValueError: there is no ``size``, or it is that of other than N tokens.
        """
        size = checked_size(size, tokens, "ConditionalPosition")
        return tokens + tokens_of(self.conv(map_of(keep_real(tokens, mask), size)))


@MODELS.register_module(role="image_backbone")
class EcoFormerTwins(HostBackbone):
    """Maps of strides 4, 8, 16 and 32, rounded down.

    Args:
        variant: "svt_s" sets widths, blocks and heads.
        widths: channels of each stage, instead of the variant's.
        depths: blocks of each stage, instead of the variant's.
        heads: of each stage's attention, instead of the variant's.
        ratios: hidden over outer width of each stage's feed-forward layers.
        attention: "ecoformer", "msa" (softmax) or "msa_share_qk" (softmax whose queries are its keys), one for all
            stages or one for each.
        hashing: further arguments of each `HashAttention`.
        qkv_bias: queries, keys and values have a bias.
        norm_eps: of the norms of blocks and maps.
        patch_norm_eps: of the norms of the patch embeddings.
        drop_path: of the last block; it rises linearly from 0 at the first.
        out_indices: stages whose maps are given, in ascending order; there are no stages behind the last.
        out_norms: a norm for each map that is given; the next stage reads the map without it. Not in the published
            form, which is a classifier.
        checkpointing: in training, run blocks again for the gradient instead of keeping what they computed.

    Raises:
        ValueError: the variant or an attention is unknown, something is not given for each stage, or a width is not
            divisible by its heads.
    """

    def __init__(
        self,
        variant: str = "svt_s",
        *,
        widths: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        ratios: Sequence[float] = (4, 4, 4, 4),
        attention: str | Sequence[str] = PUBLISHED,
        hashing: Mapping[str, Any] | None = None,
        qkv_bias: bool = True,
        norm_eps: float = 1e-6,
        patch_norm_eps: float = 1e-5,
        drop_path: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norms: bool = False,
        checkpointing: bool = False,
    ) -> None:
        widths, depths, heads = (
            published if given is None else given
            for published, given in zip(variant_of(VARIANTS, variant), (widths, depths, heads), strict=True)
        )
        check_stages(out_indices, depths=depths, widths=widths, heads=heads, ratios=ratios)
        plan = BlockPlan(
            depths, attention, hashing=hashing, qkv_bias=qkv_bias, norm_eps=norm_eps, drop_path=drop_path
        )
        stages, strides = [], [4 * 2**stage for stage in range(len(depths))]
        for stage, width in enumerate(widths[: out_indices[-1] + 1]):
            side = 2 if stage else 4
            embed = PatchEmbedding(
                widths[stage - 1] if stage else 3, width, kernel=side, stride=side, padding=0, norm="layer",
                norm_eps=patch_norm_eps,
            )
            first, *others = plan.blocks(stage, width, heads[stage], {"type": "FeedForward", "ratio": ratios[stage]})
            blocks = [first, ConditionalPosition(width), *others]
            stages.append(MetaFormerStage(embed, blocks, checkpointing=checkpointing))
        super().__init__(stages, widths, strides, out_indices, least_size=strides[out_indices[-1]])
        self.out_norms = nn.ModuleDict(
            {str(stage): nn.LayerNorm(widths[stage], norm_eps) for stage in out_indices if out_norms}
        )
        self.dense_only = ("out_norms.",)            # what a checkpoint of a classifier lacks
        self.init_weights()

    def given(self, stage: int, x: Tensor) -> Tensor:
        """The map, behind its norm if there is one."""
        if str(stage) not in self.out_norms:
            return x
        return map_of(self.out_norms[str(stage)](tokens_of(x)), (x.shape[2], x.shape[3]))
