"""The bird's-eye-view encoder: the camera branch, the LiDAR branch, or both side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.registry import MODELS

from .camera_encoder import CameraEncoder
from .pillar_encoder import PillarEncoder


@MODELS.register_module(role="bev_encoder")
class VectorMapNetEncoder(nn.Module):
    """Features of the ground around the vehicle, from what the config names; with both, each gives half the channels.

    "VectorMapNet: End-to-end Vectorized HD Map Learning" (Liu et al., ICML 2023), section 3.2.

    Args:
        camera: further arguments of a `CameraEncoder` ({}: as published); None: no cameras.
        lidar: further arguments of a `PillarEncoder` ({}: as published); None: no LiDAR.
        channels: width of the map.
        region: x0, y0, x1, y1 [m], ego frame.
        grid: columns (along x) and rows (along y) of the map.

    Raises:
        ValueError: there is neither camera nor LiDAR, or both have to share an odd number of channels.
    """

    def __init__(
        self,
        camera: Mapping[str, Any] | None = None,
        lidar: Mapping[str, Any] | None = None,
        *,
        channels: int = 128,
        region: Sequence[float] = (-30.0, -15.0, 30.0, 15.0),
        grid: Sequence[int] = (200, 100),
    ) -> None:
        super().__init__()
        branches = (camera is not None) + (lidar is not None)
        if not branches:
            raise ValueError("an encoder needs camera, lidar or both, got None and None")
        if channels % branches:
            raise ValueError(f"channels must be even for two branches, got {channels}")
        shared: dict[str, Any] = {"channels": channels // branches, "region": region, "grid": grid}
        self.channels = channels
        self.camera = None if camera is None else CameraEncoder(**shared, **camera)
        self.lidar = None if lidar is None else PillarEncoder(**shared, **lidar)

    def forward(self, inputs: Mapping[str, Any]) -> Tensor:
        """What `MapDataPreprocessor` gives -> (B, channels, rows, columns); rows along y, columns along x, ascending.

        Raises:
            ValueError: the inputs lack the pictures or the points.
        """
        maps = []
        if self.camera is not None:
            _check_input(inputs, "images", "name its cameras")
            maps.append(self.camera(inputs["images"], inputs["image_from_ego"], inputs.get("camera_mask")))
        if self.lidar is not None:
            _check_input(inputs, "points", "set use_points")
            maps.append(self.lidar(inputs["points"]))
        return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)


def _check_input(inputs: Mapping[str, Any], name: str, remedy: str) -> None:
    if name not in inputs:
        raise ValueError(f"inputs have no {name}, only {', '.join(inputs)}; the data preprocessor must {remedy}")
