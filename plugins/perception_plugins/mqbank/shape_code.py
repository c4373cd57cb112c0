"""What a query is told of the shape of its lane."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.models.fourier import fourier

FREQUENCIES = 5                                      # of waves in the code of a lane's middle
SHAPE_SCALE = 4.0                                    # brings the points of a lane about its middle to the size of one


class ShapeCode(nn.Module):
    """Two linear layers over where the boundary points of a lane lie, and how from their middle.

    Args:
        boundary_size: S, boundary points of a query.
        channels: width C.
    """

    def __init__(self, boundary_size: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear((2 + 4 * FREQUENCIES) + 2 * boundary_size, channels), nn.ReLU(), nn.Linear(channels, channels)
        )

    def forward(self, points: Tensor) -> Tensor:
        """(B, Q, S, >= 2) points in the unit cube -> (B, Q, C)."""
        flat = 2 * points[..., :2] - 1
        middle = flat.mean(dim=2, keepdim=True)
        around = SHAPE_SCALE * (flat - middle).flatten(2)
        return self.layers(torch.cat([fourier(middle[:, :, 0], FREQUENCIES), around], dim=2))
