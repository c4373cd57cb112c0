"""Oriented 3-D boxes in one convention: gravity centre, length width height, counter-clockwise yaw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import box_conversions as conversions
from .box_conversions import Argoverse2Rows, KittiRows, NuScenesRows, WaymoRows
from .box_conversions import wrap_angle as wrap_angle
from .se3 import SE3

# Signs of the corners along (length, width, height): the bottom face counter-clockwise from front-left, then the top.
CORNER_SIGNS = (
    (1, 1, -1), (-1, 1, -1), (-1, -1, -1), (1, -1, -1),
    (1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, 1),
)
POINTS_AT_ONCE = 1 << 21               # `contains` takes boxes in groups, so its scratch memory stays below 100 MiB


@dataclass(frozen=True, eq=False)
class Boxes3D:
    """K upright boxes; rows are x y z [m] of the centre, length width height [m], yaw [rad], then vx vy [m/s] if known.

    The frame is right-handed with x forward, y left, z up; yaw is counter-clockwise about +z and 0 along +x.
    The tensor's dtype and device are kept (global coordinates are float64). An unknown velocity is NaN.
    Values are not checked, since data sets and untrained networks hold odd ones: a box with a NaN or a negative size
    stays in its row and contains no point (`finite` finds it); a size of zero contains what lies on the box.

    Args:
        tensor: (K, 7) or (K, 9) floating point.

    Raises:
        ValueError: the shape or dtype is another.
    """

    tensor: Tensor

    def __post_init__(self) -> None:
        tensor = self.tensor
        if tensor.ndim != 2 or tensor.shape[1] not in (7, 9) or not tensor.is_floating_point():
            got = f"{tensor.dtype} {tuple(tensor.shape)}"
            raise ValueError(f"Boxes3D takes a floating (K, 7) or (K, 9) tensor, got {got}")

    @classmethod
    def empty(cls, columns: int = 9, *, like: Tensor | None = None) -> Boxes3D:
        """No boxes: (0, ``columns``) float32, or of the dtype and device of ``like``."""
        return cls(torch.zeros(0, columns) if like is None else like.new_zeros(0, columns))

    @classmethod
    def cat(cls, boxes: Sequence[Boxes3D]) -> Boxes3D:
        """Rows of all boxes; if any has velocities, those without get NaN."""
        if not boxes:
            return cls.empty()
        columns = max(part.tensor.shape[1] for part in boxes)
        return cls(torch.cat([part.with_columns(columns).tensor for part in boxes]))

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> Boxes3D:
        rows = self.tensor[index]
        return Boxes3D(rows[None] if rows.ndim == 1 else rows)

    def to(self, *args: object, **kwargs: object) -> Boxes3D:
        """As `torch.Tensor.to`: another device or dtype."""
        return Boxes3D(self.tensor.to(*args, **kwargs))    # type: ignore[call-overload]  # torch's overloads

    @property
    def centers(self) -> Tensor:
        """(K, 3) gravity centres [m]."""
        return self.tensor[:, :3]

    @property
    def sizes(self) -> Tensor:
        """(K, 3) length, width, height [m]."""
        return self.tensor[:, 3:6]

    @property
    def yaws(self) -> Tensor:
        """(K,) headings [rad]."""
        return self.tensor[:, 6]

    @property
    def has_velocity(self) -> bool:
        """Whether there are columns for a velocity."""
        return self.tensor.shape[1] == 9

    @property
    def velocities(self) -> Tensor:
        """(K, 2) vx, vy [m/s]; NaN where unknown."""
        return self.tensor[:, 7:9] if self.has_velocity else self.tensor.new_full((len(self), 2), math.nan)

    @property
    def bottom_centers(self) -> Tensor:
        """(K, 3) centres of the bottom faces [m]."""
        return torch.cat([self.tensor[:, :2], self.tensor[:, 2:3] - self.tensor[:, 5:6] / 2], dim=1)

    def with_columns(self, columns: int) -> Boxes3D:
        """With 7 columns the velocities are dropped, with 9 unknown ones are NaN."""
        if columns == self.tensor.shape[1]:
            return self
        return Boxes3D(self.tensor[:, :7] if columns == 7 else torch.cat([self.tensor, self.velocities], dim=1))

    def finite(self) -> Tensor:
        """(K,) bool: centre, sizes and yaw are finite; the velocity may be unknown."""
        return torch.isfinite(self.tensor[:, :7]).all(dim=1)

    def range_bev(self) -> Tensor:
        """(K,) distance of the centres from the origin in the xy plane [m]."""
        return self.tensor[:, :2].norm(dim=1)

    def corners(self) -> Tensor:
        """(K, 8, 3) corners [m] in the order of `CORNER_SIGNS`."""
        signs = self.tensor.new_tensor(CORNER_SIGNS)                              # (8, 3)
        offsets = signs * self.sizes[:, None] / 2                                 # (K, 8, 3)
        return self.centers[:, None] + _rotate_z(offsets, self.yaws[:, None])

    def contains(self, points: Tensor) -> Tensor:
        """(K, N) bool: which of the points (N, 3) lie inside or on each box."""
        at_once = max(1, POINTS_AT_ONCE // max(1, len(points)))
        return torch.cat([Boxes3D(rows)._contains(points) for rows in self.tensor.split(at_once)])

    def _contains(self, points: Tensor) -> Tensor:
        local = _rotate_z(points[None] - self.centers[:, None], -self.yaws[:, None])   # (K, N, 3), box axes
        return (local.abs() <= self.sizes[:, None] / 2).all(dim=-1)

    def points_inside(self, points: Tensor) -> list[Tensor]:
        """For each box the rows of ``points`` (N, 3) in or on it, ascending (P_k,) int64; as `contains`, but only the
        points near a box are turned into its axes."""
        x = points[:, 0].contiguous()
        reach = self.sizes[:, :2].norm(dim=1) / 2 * 1.001 + 1e-3                       # (K,) beyond the corners
        inside = []
        for box, (center, half) in enumerate(zip(self.centers[:, 0].tolist(), reach.tolist(), strict=True)):
            rows = ((x - center).abs() <= half).nonzero()[:, 0]
            inside.append(rows[self[box]._contains(points[rows])[0]])
        return inside

    def moved_by(self, transform: SE3) -> Boxes3D:
        """The same boxes in the target frame; headings follow their projection on the target's xy plane."""
        yaws = self.yaws.double()
        heading = torch.stack([yaws.cos(), yaws.sin(), torch.zeros_like(yaws)], dim=1)  # (K, 3)
        heading = transform.rotate(heading)
        yaw = torch.atan2(heading[:, 1], heading[:, 0])[:, None].to(self.tensor.dtype)
        parts = [transform.apply(self.centers), self.sizes, yaw]
        if self.has_velocity:
            flat = torch.cat([self.velocities, torch.zeros_like(self.velocities[:, :1])], dim=1)
            parts.append(transform.rotate(flat)[:, :2])
        return Boxes3D(torch.cat(parts, dim=1))

    def scaled_by(self, factor: float) -> Boxes3D:
        """Centres, sizes and velocities times ``factor``, about the origin."""
        scale = self.tensor.new_full((self.tensor.shape[1],), factor)
        scale[6] = 1.0
        return Boxes3D(self.tensor * scale)

    def mirrored_y(self) -> Boxes3D:
        """The scene with left and right exchanged: y, yaw and vy change sign."""
        sign = self.tensor.new_ones(self.tensor.shape[1])
        sign[[1, 6] if not self.has_velocity else [1, 6, 8]] = -1.0
        return Boxes3D(self.tensor * sign)

    @classmethod
    def from_nuscenes(cls, rows: NuScenesRows, global_from_ego: SE3, dtype: torch.dtype = torch.float32) -> Boxes3D:
        """From annotations or results in the global frame: (K, 9) in the ego frame.

        Args:
            rows: K boxes.
            global_from_ego: pose of the vehicle, tilted by less than a quarter turn.
            dtype: of the result; what is computed before is float64.

        Raises:
            ValueError: a quaternion is zero or not finite.
        """
        return cls(conversions.boxes_from_nuscenes(rows, global_from_ego).to(dtype))

    def to_nuscenes(self, global_from_ego: SE3) -> NuScenesRows:
        """From the ego frame to rows in the global frame, float64; unknown velocities are NaN."""
        return conversions.nuscenes_from_boxes(self.tensor, global_from_ego)

    @classmethod
    def from_lidar_top(cls, tensor: Tensor) -> Boxes3D:
        """From nuScenes' LIDAR_TOP axes (x right, y forward): the same boxes with x forward, y left, sensor's origin.

        For the ego frame instead, move the rows by the sensor's pose: ``Boxes3D(tensor).moved_by(ego_from_lidar)``.

        Args:
            tensor: (K, 7 or 9) centre, length width height, yaw from the sensor's x to the length axis, velocity.
        """
        return cls(conversions.turned_quarter(tensor, -1))

    def to_lidar_top(self) -> Tensor:
        """(K, 7 or 9) rows in nuScenes' LIDAR_TOP axes; inverse of `from_lidar_top`."""
        return conversions.turned_quarter(self.tensor, 1)

    @classmethod
    def from_argoverse2(cls, rows: Argoverse2Rows, dtype: torch.dtype = torch.float32) -> Boxes3D:
        """From annotations in the ego frame: (K, 7). Raises ValueError for a quaternion that is zero or not finite."""
        return cls(conversions.boxes_from_argoverse2(rows).to(dtype))

    def to_argoverse2(self) -> Argoverse2Rows:
        """Rows of the same frame, without velocities."""
        return conversions.argoverse2_from_boxes(self.tensor)

    @classmethod
    def from_waymo(cls, rows: WaymoRows, dtype: torch.dtype = torch.float32) -> Boxes3D:
        """From labels in the vehicle frame: (K, 7), or (K, 9) if they have speeds."""
        return cls(conversions.boxes_from_waymo(rows).to(dtype))

    def to_waymo(self) -> WaymoRows:
        """Rows of the same frame, with speeds if there are velocities."""
        return conversions.waymo_from_boxes(self.tensor)

    @classmethod
    def from_kitti(cls, rows: KittiRows, lidar_from_camera: SE3, dtype: torch.dtype = torch.float32) -> Boxes3D:
        """From labels in the frame of rectified camera 0: (K, 7) in the LiDAR frame (x forward, y left, z up).

        Args:
            rows: K boxes; those of DontCare regions (sizes of -1) are converted like the rest.
            lidar_from_camera: inverse of R0_rect times Tr_velo_to_cam.
            dtype: of the result; what is computed before is float64.
        """
        return cls(conversions.boxes_from_kitti(rows, lidar_from_camera).to(dtype))

    def to_kitti(self, lidar_from_camera: SE3) -> KittiRows:
        """From the LiDAR frame to rows in the frame of rectified camera 0, float64, without velocities."""
        return conversions.kitti_from_boxes(self.tensor, lidar_from_camera)

    @classmethod
    def from_mmdet3d(cls, tensor: Tensor) -> Boxes3D:
        """From the rows of mmdet3d's ``LiDARInstance3DBoxes``: (K, 7 or 9) as ours, but with the bottom centre."""
        return cls(conversions.raised(tensor, 0.5))

    def to_mmdet3d(self) -> Tensor:
        """(K, 7 or 9) rows of mmdet3d's ``LiDARInstance3DBoxes``: as ours, but with the bottom centre."""
        return conversions.raised(self.tensor, -0.5)


def _rotate_z(vectors: Tensor, angle: Tensor) -> Tensor:
    """Turn vectors (..., 3) counter-clockwise about +z by angles that broadcast to (...)."""
    c, s = angle.cos(), angle.sin()
    x, y, z = vectors.unbind(-1)
    return torch.stack([c * x - s * y, s * x + c * y, z], dim=-1)
