"""An AlgoFormer over the patches of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from perception.models.backbone_arguments import check_images
from perception.models.metaformer.patch_embedding import PatchEmbedding, PositionMap
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS

from .looped import AlgoFormer


@MODELS.register_module(role="image_backbone")
class AlgoFormerBackbone(nn.Module):
    """Patches, learned positions, an `AlgoFormer`, and one map (ours: the paper has no pictures).

    Args:
        width: channels.
        patch: side of a patch, which is the stride.
        position: height and width of the map of patches that positions are learned for.
        heads: attention heads.
        loops: iterations; the attribute of this name may be changed at any time.
        options: further arguments of an `AlgoFormer`.
    """

    def __init__(
        self, width: int = 256, *, patch: int = 16, position: Sequence[int] = (14, 14), heads: int = 8, loops: int = 10,
        **options: Any,
    ) -> None:
        super().__init__()
        self.loops = loops
        self.embed = PatchEmbedding(3, width, kernel=patch, stride=patch, padding=0)
        self.position = PositionMap(width, (position[0], position[1]))
        self.body = AlgoFormer(width, heads=heads, loops=loops, **options)
        self.channels, self.strides = (width,), (patch,)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(B, 3, H, W) -> one map (B, C, H / s, W / s), rounded down.

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or smaller than a patch.
        """
        check_images(images, least=self.strides[0])
        x = self.embed(images)
        size = (x.shape[2], x.shape[3])
        tokens = self.position(tokens_of(x).contiguous(), size)
        return (map_of(self.body(tokens, loops=self.loops), size),)
