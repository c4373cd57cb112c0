"""A convolutional network and `DuoFormerNeck` on its pyramid, as one image backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from perception.models.backbone_arguments import check_images, variant_of
from perception.registry import MODELS

from .neck import COARSEST, DuoFormerNeck

PUBLISHED_CNNS = {"default": {"type": "ResNet", "depth": 50}, "light": {"type": "ResNet", "depth": 18}}


@MODELS.register_module(role="image_backbone")
class DuoFormer(nn.Module):
    """Maps of a width D that have seen their region at all scales, and a map of regions that have seen all others.

    Args:
        cnn: config of an image backbone with four maps, each of twice the stride of the one before; None takes the
            variant's ResNet.
        variant: "default" or "light".
        options: further arguments of the `DuoFormerNeck`. With ``scales=4`` its default is maps of all four strides,
            the coarsest of which is that of the regions.

    Raises:
        ValueError: the variant is unknown, the strides do not double, or as `DuoFormerNeck` does.
    """

    def __init__(
        self, cnn: Mapping[str, Any] | None = None, *, variant: str = "default", **options: Any
    ) -> None:
        super().__init__()
        default_cnn = variant_of(PUBLISHED_CNNS, variant)
        self.cnn = MODELS.build(default_cnn if cnn is None else cnn)
        strides = _checked_strides(self.cnn.strides)
        self.neck = DuoFormerNeck(self.cnn.channels, variant=variant, **options)
        self.channels, self.multiple = self.neck.channels, strides[COARSEST]
        self.strides = (
            *(strides[level] for level in self.neck.out_indices), *strides[COARSEST:] * self.neck.region_map
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, D, H / s_i, W / s_i).

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or their sides no multiples of the coarsest stride.
        """
        return self.neck(self.pyramid(images))

    def pyramid(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the four maps that the neck reads.

        Raises:
            ValueError: as `forward`.
        """
        check_images(images, least=self.multiple)
        height, width = images.shape[2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(
                f"images must have sides that are multiples of {self.multiple} pixels, got {height} x {width}: "
                f"an ImageDataPreprocessor with pad_divisor={self.multiple} makes them so"
            )
        return self.cnn(images)

    def class_token(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> what the class token is behind the patch blocks, (B, D).

        Raises:
            ValueError: as `forward`.
        """
        tokens, grid = self.neck.tokens(self.pyramid(images))
        return self.neck.mix_regions(self.neck.mix_scales(tokens)[:, :, 0], grid)[:, 0]


def _checked_strides(strides: Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(strides)
    if len(chosen) != COARSEST + 1 or chosen != tuple(chosen[0] * 2**level for level in range(len(chosen))):
        raise ValueError(f"cnn must give four maps whose strides double, got strides {chosen}")
    return chosen
