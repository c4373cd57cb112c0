"""A BEV backbone and its neck as one: the dense half of a LiDAR detector for the map of any encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from perception.registry import MODELS


@MODELS.register_module(role="neck")
class BEVNetwork(nn.Module):
    """Wires a BEV backbone and a neck, each built from its config.

    Args:
        bev_backbone: map -> maps of several strides.
        neck: those -> one map.
    """

    def __init__(self, bev_backbone: Mapping[str, Any], neck: Mapping[str, Any]) -> None:
        super().__init__()
        self.bev_backbone = MODELS.build(bev_backbone)
        self.neck = MODELS.build(neck)

    def forward(self, bev: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return self.neck(self.bev_backbone(bev))
