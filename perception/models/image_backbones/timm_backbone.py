"""Any network of the timm library as an image backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import timm
from torch import Tensor, nn

from perception.errors import suggestion
from perception.models.backbone_arguments import check_images
from perception.registry import MODELS

LAST_FOUR = (-4, -3, -2, -1)


@MODELS.register_module(role="image_backbone")
class TimmBackbone(nn.Module):
    """The feature maps of a timm model ("PyTorch Image Models", Wightman, 2019): ResNet, ConvNeXt, Swin and others.

    Args:
        name: of the model, such as "convnext_tiny" or "swin_tiny_patch4_window7_224".
        pretrained: begin with timm's weights, which are fetched over the network.
        out_indices: levels as timm counts them, from the finest, in ascending order; negative ones count from the
            coarsest. A ResNet's level 0 is its stem of stride 2; the last four have strides 4 to 32.
        options: further arguments of the model, such as ``drop_path_rate``; transformers take pictures of
            ``img_size``, or of other sizes too with ``dynamic_img_size=True``.

    Raises:
        ValueError: timm has no model of that name.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        out_indices: Sequence[int] = LAST_FOUR,
        **options: Any,
    ) -> None:
        super().__init__()
        if ":" not in name and not timm.is_model(name):            # with a colon it lies on a hub
            raise ValueError(f"timm has no model {name!r}{suggestion(name, timm.list_models())}")
        self.net = timm.create_model(
            name, pretrained=pretrained, features_only=True, out_indices=tuple(out_indices), **options
        )
        info: Any = self.net.feature_info
        self.channels, self.strides = tuple(info.channels()), tuple(info.reduction())
        self.channels_come_last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C_i, H / s_i, W / s_i), rounded as the model does.

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or of a size that timm's model does not take.
        """
        check_images(images)
        try:
            maps = self.net(images)
        except AssertionError as error:            # timm says so which size or multiple it needs
            raise ValueError(f"images of {images.shape[2]} x {images.shape[3]} pixels don't fit: {error}") from error
        return tuple(x.permute(0, 3, 1, 2) if self.channels_come_last else x for x in maps)
