"""FIT over the patches of large pictures, or of several."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from perception.models.backbone_arguments import check_images
from perception.models.metaformer.patch_embedding import PatchEmbedding
from perception.registry import MODELS

from .layer import NORM_EPS
from .tiled import TiledFIT


@MODELS.register_module(role="image_backbone")
class FIT(nn.Module):
    """Crops of a picture that exchange news by their latents: one map of the stride of a patch.

    "FIT: Far-reaching Interleaved Transformers" (2023); no picture model of it was released. Sizes, dense maps, and
    pictures of any size are ours. A crop that reaches beyond the picture is filled with tokens that none sees.

    Args:
        layers: see `parse_layers`; ends with local layers.
        width, latent_width: channels of tokens and latents.
        heads, latent_heads: attention heads.
        patch: side of a patch, which is the stride.
        crop: side of a crop in patches.
        latents: of a crop.
        pictures: so many pictures of a batch, one after another, exchange news, such as the cameras of a moment.
        mlp_ratio: hidden over outer width of the feed-forward nets.
        drop_path: of local and global layers.

    Raises:
        ValueError: as `TiledFIT`.
    """

    def __init__(
        self, layers: str = "(2)2(2)2(2)", *, width: int = 384, latent_width: int = 512, heads: int = 6,
        latent_heads: int = 8, patch: int = 16, crop: int = 14, latents: int = 16, pictures: int = 1,
        mlp_ratio: float = 4.0, drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.embed = PatchEmbedding(
            3, width, kernel=patch, stride=patch, padding=0, norm="layer", norm_eps=NORM_EPS
        )
        options: dict[str, Any] = {"mlp_ratio": mlp_ratio, "drop_path": drop_path}
        self.body = TiledFIT(
            width, tile=crop, latents=latents, latent_channels=latent_width, heads=heads, latent_heads=latent_heads,
            layers=layers, pictures=pictures, **options,
        )
        self.channels, self.strides = (width,), (patch,)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(B, 3, H, W) -> one map (B, C, H / s, W / s), rounded down.

        Raises:
            ValueError: the pictures are not (B, 3, H, W), are smaller than a patch, or make no whole sets.
        """
        check_images(images, least=self.strides[0])
        return (self.body(self.embed(images).movedim(1, 3)).movedim(3, 1),)
