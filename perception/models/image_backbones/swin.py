"""Swin transformers of torchvision, with the maps between their stages.

"Swin Transformer: Hierarchical Vision Transformer using Shifted Windows" (Liu et al., ICCV 2021), table 7.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformer

from perception.models.backbone_arguments import checked_indices, variant_of
from perception.registry import MODELS

# Width of the first stage, blocks and heads of each stage, and probability of leaving out the last block's branch.
VARIANTS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], float]] = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24), 0.3),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32), 0.5),
}


@MODELS.register_module(role="image_backbone")
class TorchvisionSwin(nn.Module):
    """A Swin transformer that gives maps *after* the patch merging that ends a stage; none of them is normalised.

    Map 0 has stride 8 and twice the width of the first stage, map 2 stride 32 and eight times that width, map 3 is what
    the last stage makes of map 2. Pictures of any size will do; windows at the border are padded. Parameters have the
    names of torchvision's ImageNet files, whose final norm and classifier are left out.

    Args:
        variant: "tiny", "small" or "base"; the next three override its numbers.
        channels: width of the first stage.
        depths: blocks of each of the four stages.
        heads: attention heads of each stage.
        window: side of a window [tokens].
        out_indices: maps to give, in ascending order.
        drop_path: probability of leaving a branch out, of the last block; None is the variant's.

    Raises:
        ValueError: the variant is unknown, depths and heads are not four each, or ``out_indices`` are no ascending
            numbers from 0 to 3.
    """

    def __init__(
        self,
        variant: str = "base",
        *,
        channels: int | None = None,
        depths: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        window: int = 7,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path: float | None = None,
    ) -> None:
        super().__init__()
        width, blocks, num_heads, rate = variant_of(VARIANTS, variant)
        width = width if channels is None else channels
        blocks, num_heads = tuple(depths or blocks), tuple(heads or num_heads)
        if len(blocks) != 4 or len(num_heads) != 4:
            raise ValueError(f"depths and heads must be four numbers each, got {blocks} and {num_heads}")
        out_indices = checked_indices(out_indices, 4, "stages")
        net = SwinTransformer(
            [4, 4], width, list(blocks), list(num_heads), [window, window], num_classes=1,
            stochastic_depth_prob=rate if drop_path is None else drop_path,
        )
        self.features = net.features[: 8 if 3 in out_indices else 3 + 2 * out_indices[-1]]
        self.out_indices = tuple(out_indices)
        self.channels = tuple(width * 2 ** min(index + 1, 3) for index in out_indices)
        self.strides = tuple(4 * 2 ** min(index + 1, 3) for index in out_indices)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C_i, ~H / s_i, ~W / s_i)."""
        maps, x = {}, images
        for number, part in enumerate(self.features):
            x = part(x)                                                            # (B, h, w, C)
            maps[number] = x
        steps = (min(2 + 2 * index, 7) for index in self.out_indices)              # 0: patches, 1: stage, 2: merging
        return tuple(maps[step].permute(0, 3, 1, 2).contiguous() for step in steps)
