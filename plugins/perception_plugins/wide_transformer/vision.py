"""A wide encoder over the patches of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from perception.models.backbone_arguments import check_images
from perception.models.metaformer.patch_embedding import PatchEmbedding, PositionMap
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS

from .encoder import WideTransformer


@MODELS.register_module(role="image_backbone")
class WideVisionTransformer(nn.Module):
    """Patches, learned positions, a `WideTransformer`, and one map.

    The paper's claims are for short texts and models trained from scratch; for pictures nothing is claimed.

    Args:
        width: channels.
        patch: side of a patch, which is the stride.
        position: height and width of the map of patches that positions are learned for; resized for others.
        depth, heads, head_channels, hidden: see `WideTransformer`.
        options: further arguments of it.
    """

    def __init__(
        self, width: int = 512, *, patch: int = 16, position: Sequence[int] = (14, 14), depth: int = 1,
        heads: int = 48, head_channels: int = 64, hidden: int = 2048, **options: Any,
    ) -> None:
        super().__init__()
        self.embed = PatchEmbedding(3, width, kernel=patch, stride=patch, padding=0)
        self.position = PositionMap(width, (position[0], position[1]))
        self.encoder = WideTransformer(
            width, depth=depth, heads=heads, head_channels=head_channels, hidden=hidden, **options
        )
        self.channels, self.strides = (width,), (patch,)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(B, 3, H, W) -> one map (B, C, H / s, W / s), rounded down.

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or smaller than a patch.
        """
        check_images(images, least=self.strides[0])
        tokens, size = self.tokens(images)
        return (map_of(self.encoder(tokens), size),)

    def tokens(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patches with their positions (B, N, C), row by row, and the height and width of their map."""
        x = self.embed(images)
        size = (x.shape[2], x.shape[3])
        return self.position(tokens_of(x).contiguous(), size), size
