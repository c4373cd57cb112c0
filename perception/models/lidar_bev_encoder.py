"""A LiDAR detector's network up to its neck, as the BEV encoder of any other task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from perception.registry import MODELS

from .occupied_cells import mix_occupied


@MODELS.register_module(role="bev_encoder")
class LidarBEVEncoder(nn.Module):
    """Wires a voxel encoder, a LiDAR backbone, a BEV backbone and a neck, each built from its config.

    Args:
        voxel_encoder: points -> (features (M, C), coords (M, 4)).
        lidar_backbone: (features, coords, batch_size) -> canvas (B, C, ny, nx).
        bev_backbone: canvas -> maps of several strides.
        neck: maps -> one map.
        bev_mixer: config of a mixer of the canvas, as a `Detector` takes it; None goes without.
        channels_last: lay the dense part out channels last.
    """

    def __init__(
        self,
        voxel_encoder: Mapping[str, Any],
        lidar_backbone: Mapping[str, Any],
        bev_backbone: Mapping[str, Any],
        neck: Mapping[str, Any],
        *,
        bev_mixer: Mapping[str, Any] | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.voxel_encoder = MODELS.build(voxel_encoder)
        self.lidar_backbone = MODELS.build(lidar_backbone)
        self.bev_mixer = None if bev_mixer is None else MODELS.build(bev_mixer)
        self.bev_backbone = MODELS.build(bev_backbone)
        self.neck = MODELS.build(neck)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for part in (self.bev_backbone, self.neck):
            part.to(memory_format=self.memory_format)

    def forward(self, inputs: Mapping[str, Any]) -> Tensor:
        """``points``: B tensors (P_i, C) -> (B, C, H, W); rows along y, columns along x."""
        return self.maps(inputs)[1]

    def maps(self, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """The canvas (B, C, ny, nx), what LiDAR backbone and mixer say of each pillar, and the map of `forward`."""
        points = inputs["points"]
        features, coords = self.voxel_encoder(points)
        canvas = self.lidar_backbone(features, coords, len(points))
        canvas = mix_occupied(self.bev_mixer, canvas, coords, stride=getattr(self.lidar_backbone, "stride", 1))
        canvas = canvas.contiguous(memory_format=self.memory_format)
        return canvas, self.neck(self.bev_backbone(canvas))
