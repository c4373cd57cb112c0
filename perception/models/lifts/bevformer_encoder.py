"""Pictures to a bird's-eye-view map: image backbone, neck, BEVFormer's lift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from perception.registry import MODELS


@MODELS.register_module(role="bev_encoder")
class BEVFormerEncoder(nn.Module):
    """Wires an image backbone, a neck and a `BEVFormerLift`, each built from its config.

    Args:
        image_backbone: pictures -> maps of several strides.
        neck: those maps -> maps of equal width, one a level of the lift.
        lift: maps of all cameras -> bird's-eye-view map.
    """

    def __init__(self, image_backbone: Mapping[str, Any], neck: Mapping[str, Any], lift: Mapping[str, Any]) -> None:
        super().__init__()
        self.image_backbone = MODELS.build(image_backbone)
        self.neck = MODELS.build(neck)
        self.lift = MODELS.build(lift)

    def forward(self, inputs: Mapping[str, Any]) -> Tensor:
        """``images``, ``image_from_ego``, ``camera_mask`` and, as the lift asks, ``can_bus`` -> (B, C, H, W)."""
        images, mask = inputs["images"], inputs["camera_mask"]
        return self.lift(
            self.features(images, mask), inputs["image_from_ego"], tuple(images.shape[3:]), camera_mask=mask,
            can_bus=inputs.get("can_bus"),
        )

    def features(self, images: Tensor, camera_mask: Tensor) -> list[Tensor]:
        """(B, N, 3, H, W) pictures -> maps (B, N, C, H_l, W_l); those of missing cameras are never computed but 0."""
        present = camera_mask.flatten()                                          # (B * N,)
        pictures = images.flatten(0, 1)
        if bool(present.all()):
            maps: Sequence[Tensor] = self.neck(self.image_backbone(pictures))
        else:
            maps = [
                level.new_zeros(len(present), *level.shape[1:]).masked_scatter(present[:, None, None, None], level)
                for level in self.neck(self.image_backbone(pictures[present]))
            ]
        return [level.unflatten(0, images.shape[:2]) for level in maps]
