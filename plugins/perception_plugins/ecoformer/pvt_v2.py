"""PVTv2 with EcoFormer's attention, with plain softmax attention (its teacher) or with its own.

"PVT v2: Improved Baselines with Pyramid Vision Transformer" (Wang et al., Computational Visual Media 2022);
"EcoFormer: Energy-Saving Attention with Linear Complexity" (Liu et al., NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from perception.models.backbone_arguments import variant_of
from perception.models.image_backbones.mit import VARIANTS as MIT_VARIANTS
from perception.models.metaformer.patch_embedding import PatchEmbedding
from perception.models.metaformer.staged import MetaFormerStage
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS

from .host import PUBLISHED, BlockPlan, HostBackbone, check_stages

VARIANTS = {name: MIT_VARIANTS[name] for name in ("b0", "b1", "b2", "b3", "b4")}


class NormedStage(MetaFormerStage):
    """A stage with a norm behind its blocks, which the next stage reads too.

    Args:
        embed, blocks, checkpointing: see `MetaFormerStage`.
        norm: of tokens.
    """

    def __init__(
        self, embed: nn.Module, blocks: Sequence[nn.Module], norm: nn.Module, *, checkpointing: bool = False
    ) -> None:
        super().__init__(embed, blocks, checkpointing=checkpointing)
        self.norm = norm

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C_in, H', W') -> (B, C, H, W), channels last."""
        x = super().forward(x, mask)
        return map_of(self.norm(tokens_of(x)), (x.shape[2], x.shape[3]))


@MODELS.register_module(role="image_backbone")
class EcoFormerPVTv2(HostBackbone):
    """Maps of strides 4, 8, 16 and 32, rounded up; those of a published size.

    Args:
        variant: "b0" to "b4" sets widths and blocks.
        widths: channels of each stage, instead of the variant's.
        depths: blocks of each stage, instead of the variant's.
        heads: of each stage's attention.
        ratios: hidden over outer width of each stage's feed-forward layers.
        attention: "ecoformer", "msa" (softmax), "msa_share_qk" (softmax whose queries are its keys) or "sra" (PVTv2's
            own), one for all stages or one for each.
        reductions: of each stage's keys and values, for "sra".
        hashing: further arguments of each `HashAttention`.
        qkv_bias: queries, keys and values have a bias.
        norm_eps: of the norms of blocks and stages.
        patch_norm_eps: of the norms of the patch embeddings.
        drop_path: of the last block; it rises linearly from 0 at the first.
        out_indices: stages whose maps are given, in ascending order; there are no stages behind the last.
        checkpointing: in training, run blocks again for the gradient instead of keeping what they computed.

    Raises:
        ValueError: the variant or an attention is unknown, something is not given for each stage, or a width is not
            divisible by its heads.
    """

    def __init__(
        self,
        variant: str = "b0",
        *,
        widths: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        heads: Sequence[int] = (1, 2, 5, 8),
        ratios: Sequence[float] = (8, 8, 4, 4),
        attention: str | Sequence[str] = PUBLISHED,
        reductions: Sequence[int] = (8, 4, 2, 1),
        hashing: Mapping[str, Any] | None = None,
        qkv_bias: bool = True,
        norm_eps: float = 1e-6,
        patch_norm_eps: float = 1e-5,
        drop_path: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        checkpointing: bool = False,
    ) -> None:
        usual_widths, usual_depths = variant_of(VARIANTS, variant)
        widths = usual_widths if widths is None else widths
        depths = usual_depths if depths is None else depths
        check_stages(out_indices, depths=depths, widths=widths, heads=heads, ratios=ratios, reductions=reductions)
        plan = BlockPlan(
            depths, attention, hashing=hashing, qkv_bias=qkv_bias, norm_eps=norm_eps, drop_path=drop_path
        )
        stages, strides = [], [4 * 2**stage for stage in range(len(depths))]
        for stage, width in enumerate(widths[: out_indices[-1] + 1]):
            embed = PatchEmbedding(
                widths[stage - 1] if stage else 3, width, kernel=3 if stage else 7, stride=2 if stage else 4,
                padding=1 if stage else 3, norm="layer", norm_eps=patch_norm_eps,
            )
            feed_forward = {"type": "ConvFeedForward", "ratio": ratios[stage]}
            blocks = plan.blocks(stage, width, heads[stage], feed_forward, reduction=reductions[stage])
            stages.append(NormedStage(embed, blocks, nn.LayerNorm(width, norm_eps), checkpointing=checkpointing))
        super().__init__(stages, widths, strides, out_indices, least_size=1)
        self.init_weights()
