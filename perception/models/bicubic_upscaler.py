"""Bicubic enlargement with the face of a super-resolution network: what a learnt one is measured against."""

from __future__ import annotations

from torch import Tensor, nn

from perception.registry import MODELS
from perception.transforms.bicubic import enlarged


@MODELS.register_module(role="super_resolution_net")
class BicubicUpscaler(nn.Module):
    """Enlarges pictures without having learnt anything; see `perception.transforms.bicubic`.

    Args:
        scale: factor of both sides.
    """

    divisor = 1

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale must be a whole number >= 1, got {scale}")
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, scale * H, scale * W)."""
        return enlarged(images, self.scale)
