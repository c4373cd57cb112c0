"""Inverse perspective mapping onto several horizontal planes.

"VectorMapNet: End-to-end Vectorized HD Map Learning" (Liu et al., ICML 2023), appendix on the map feature extractor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.models.bilinear import bilinear_corners, sum_rows
from perception.registry import MODELS

NEAREST_DEPTH = 1e-9                                 # metres; also added to pixel coordinates, as the release does
FARTHEST_LOCATION = 1e4                              # in half picture sizes: far outside, yet safe to round

@MODELS.register_module(role="lift")
class PlaneIPM(nn.Module):
    """Points on horizontal planes read the camera features at their pixels; the cameras that see a point are averaged.

    The x, y, z of the points [m] follow the features as three more channels.

    Args:
        region: x0, y0, x1, y1 [m], ego frame; the outermost points lie on these borders.
        grid: points along x and along y.
        heights: z of each plane [m], ego frame.

    Raises:
        ValueError: a bound does not exceed its lower one, the grid has fewer than one point, or there is no plane.
    """

    bev_planes: Tensor

    def __init__(
        self,
        region: Sequence[float] = (-30.0, -15.0, 30.0, 15.0),
        grid: Sequence[int] = (200, 100),
        heights: Sequence[float] = (-1.1, 0.0, 0.5, 1.1),
    ) -> None:
        super().__init__()
        x0, y0, x1, y1 = region
        if not (x0 < x1 and y0 < y1):
            raise ValueError(f"region must be x0, y0, x1, y1 with x0 < x1 and y0 < y1, got {tuple(region)}")
        if len(grid) != 2 or min(grid) < 1 or not heights:
            raise ValueError(f"grid must have two sizes >= 1 and heights a plane, got {tuple(grid)}, {tuple(heights)}")
        planes = torch.meshgrid(
            torch.as_tensor(list(heights), dtype=torch.float32), torch.linspace(y0, y1, grid[1]),
            torch.linspace(x0, x1, grid[0]), indexing="ij",
        )
        self.register_buffer("bev_planes", torch.stack(planes[::-1], dim=-1))       # (L, H, W, 3): x, y, z

    def project(
        self, image_from_ego: Tensor, image_size: Sequence[int], camera_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Where the points fall in the pictures; P of them, by plane, row and column.

        Args:
            image_from_ego: (B, N, 4, 4), homogeneous point [m] -> u * depth, v * depth, depth, 1 [pixels, m].
            image_size: height and width of the (padded) pictures [pixels].
            camera_mask: (B, N) bool, False for a camera that is missing; None: all are there.

        Returns:
            (B, N, P, 2) locations, -1 to 1 across a picture, x then y; (B, N, P) bool, whether the camera sees the
            point.
        """
        x, y, z = self.bev_planes.view(-1, 3).unbind(1)                             # (P,) each
        from_x, from_y, from_z, offset = image_from_ego[:, :, :3].float().split(1, dim=3)
        uvd = from_x * x + from_y * y + from_z * z + offset                         # (B, N, 3, P), u and v times depth
        depth = uvd[:, :, 2:]
        uv = uvd[:, :, :2] / torch.where(depth == 0, NEAREST_DEPTH, depth) + NEAREST_DEPTH
        size = uv.new_tensor([image_size[1], image_size[0]])
        locations = 2 * (uv.transpose(2, 3) / size - 0.5)                           # (B, N, P, 2)
        locations = locations.clamp(-FARTHEST_LOCATION, FARTHEST_LOCATION)
        visible = (depth[:, :, 0] > NEAREST_DEPTH) & (locations.abs() < 1).all(dim=-1)
        return locations, visible if camera_mask is None else visible & camera_mask[..., None]

    def lift(
        self,
        features: Tensor,
        image_from_ego: Tensor,
        image_size: Sequence[int],
        camera_mask: Tensor | None = None,
    ) -> Tensor:
        """Mean of the features that the cameras have for each point, and the point itself.

        Args:
            features: (B, N, C, h, w); read without a copy if the channels are last in memory.
            image_from_ego, image_size, camera_mask: see `project`.

        Returns:
            (B, L, H, W, C + 3); the features are zero where no camera sees the point.
        """
        B, N, C, h, w = features.shape
        if image_from_ego.shape != (B, N, 4, 4):
            raise ValueError(f"image_from_ego must be {(B, N, 4, 4)}, got {tuple(image_from_ego.shape)}")
        locations, visible = self.project(image_from_ego, image_size, camera_mask)
        batch, point, camera = visible.transpose(1, 2).nonzero(as_tuple=True)       # (V,) each, by sample, then point
        size = locations.new_tensor([w, h])
        positions = ((locations[batch, camera, point] + 1) * size - 1) / 2          # (V, 2) cells
        corners, weights = bilinear_corners(positions, (h, w))                      # (V, 4)
        seen_by = visible.sum(dim=1)                                                # (B, P)
        weights = weights / seen_by[batch, point][:, None]
        corners = corners + ((batch * N + camera) * (h * w))[:, None]
        rows = features.permute(0, 1, 3, 4, 2).reshape(-1, C)                       # (B * N * h * w, C)
        means = sum_rows(rows, corners.flatten(), weights.flatten(), 4 * seen_by.flatten())
        planes = self.bev_planes.to(means.dtype).expand(B, -1, -1, -1, -1)          # (B, L, H, W, 3)
        return torch.cat([means.view(*planes.shape[:4], C), planes], dim=-1)

    def forward(
        self,
        features: Tensor,
        image_from_ego: Tensor,
        image_size: Sequence[int],
        camera_mask: Tensor | None = None,
    ) -> Tensor:
        """As `lift`, as one map (B, (C + 3) * L, H, W): channel c of plane l is number c * L + l."""
        lifted = self.lift(features, image_from_ego, image_size, camera_mask)       # (B, L, H, W, C + 3)
        return lifted.permute(0, 2, 3, 4, 1).flatten(3).permute(0, 3, 1, 2)         # channels last in memory
