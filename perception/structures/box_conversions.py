"""The box conventions of other people's data, as records of columns, and the arithmetic between them and ours.

Ours: (K, 7 or 9) rows x y z of the gravity centre, length width height, counter-clockwise yaw, then vx vy if known.
`Boxes3D.from_*` and `Boxes3D.to_*` are the way in. Everything here is computed, and every record kept, in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .se3 import SE3


def wrap_angle(angle: Tensor) -> Tensor:
    """Angles [rad] brought into [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


@dataclass(frozen=True, eq=False)
class NuScenesRows:
    """Boxes as in nuScenes' ``sample_annotation`` and detection submissions, in the global frame.

    Args:
        translation: (K, 3) centres [m].
        size_wlh: (K, 3) width, length, height [m].
        rotation: (K, 4) quaternions w x y z, box -> global; the box's x axis points forward.
        velocity: (K, 2) horizontal velocity [m/s], NaN where unknown.
    """

    translation: Tensor
    size_wlh: Tensor
    rotation: Tensor
    velocity: Tensor

    def __post_init__(self) -> None:
        _check_columns(self, translation=3, size_wlh=3, rotation=4, velocity=2)

    def __len__(self) -> int:
        return len(self.translation)


@dataclass(frozen=True, eq=False)
class Argoverse2Rows:
    """Boxes as in Argoverse 2's ``annotations.feather``, in the ego frame of their own time.

    Args:
        translation: (K, 3) tx_m, ty_m, tz_m: centres.
        size_lwh: (K, 3) length_m, width_m, height_m.
        rotation: (K, 4) qw, qx, qy, qz, box -> ego.
    """

    translation: Tensor
    size_lwh: Tensor
    rotation: Tensor

    def __post_init__(self) -> None:
        _check_columns(self, translation=3, size_lwh=3, rotation=4)

    def __len__(self) -> int:
        return len(self.translation)


@dataclass(frozen=True, eq=False)
class WaymoRows:
    """Boxes as in a Waymo ``Label``, in the vehicle frame. By name, since the message stores width before length.

    Args:
        center: (K, 3) center_x, center_y, center_z [m].
        length: (K,) [m].
        width: (K,) [m].
        height: (K,) [m].
        heading: (K,) about +z from +x [rad].
        speed: (K, 2) speed_x, speed_y [m/s], vehicle frame, NaN where unknown; or None. In Waymo's files they stand
            along the axes of the global frame.
    """

    center: Tensor
    length: Tensor
    width: Tensor
    height: Tensor
    heading: Tensor
    speed: Tensor | None = None

    def __post_init__(self) -> None:
        _check_columns(self, center=3, length=0, width=0, height=0, heading=0, speed=2)

    def __len__(self) -> int:
        return len(self.center)


@dataclass(frozen=True, eq=False)
class KittiRows:
    """Boxes as in KITTI's ``label_2``, in the frame of rectified camera 0 (x right, y down, z forward).

    Args:
        location: (K, 3) centres of the **bottom** faces [m].
        size_hwl: (K, 3) height, width, length [m].
        rotation_y: (K,) about +y (down) [rad]; 0: length along the camera's x.
    """

    location: Tensor
    size_hwl: Tensor
    rotation_y: Tensor

    def __post_init__(self) -> None:
        _check_columns(self, location=3, size_hwl=3, rotation_y=0)

    def __len__(self) -> int:
        return len(self.location)


def nuscenes_from_boxes(boxes: Tensor, global_from_ego: SE3) -> NuScenesRows:
    """(K, 7 or 9) in the ego frame -> rows in the global frame; orientations keep the tilt of the vehicle."""
    boxes = boxes.double()
    velocity = boxes[:, 7:9] if boxes.shape[1] == 9 else boxes.new_full((len(boxes), 2), math.nan)
    return NuScenesRows(
        translation=global_from_ego.apply(boxes[:, :3]),
        size_wlh=boxes[:, [4, 3, 5]],
        rotation=_multiply(global_from_ego.quaternion().to(boxes.device), _quaternion_about_z(boxes[:, 6])),
        velocity=global_from_ego.rotate(velocity),
    )


def boxes_from_nuscenes(rows: NuScenesRows, global_from_ego: SE3) -> Tensor:
    """Rows in the global frame -> (K, 9) float64 in the ego frame."""
    ego_from_global = global_from_ego.inverse()
    rotation = _multiply(ego_from_global.quaternion().to(rows.rotation.device), rows.rotation)
    horizontal = global_from_ego.rotation[:2, :2].to(rows.velocity.device)        # what `rotate` turns (.., 2) by
    if torch.det(horizontal).abs() < 1e-6:
        raise ValueError("global_from_ego stands the vehicle on end: headings and velocities have no horizontal part")
    velocity = rows.velocity @ torch.linalg.inv(horizontal).T                     # (K, 2), undoes `to_nuscenes` exactly
    yaw = _yaw_of(rotation)[:, None]
    return torch.cat([ego_from_global.apply(rows.translation), rows.size_wlh[:, [1, 0, 2]], yaw, velocity], dim=1)


def argoverse2_from_boxes(boxes: Tensor) -> Argoverse2Rows:
    """(K, 7 or 9) -> rows of the same frame; velocities have no place there."""
    boxes = boxes.double()
    return Argoverse2Rows(boxes[:, :3], boxes[:, 3:6], _quaternion_about_z(boxes[:, 6]))


def boxes_from_argoverse2(rows: Argoverse2Rows) -> Tensor:
    """Rows -> (K, 7) float64 of the same frame."""
    return torch.cat([rows.translation, rows.size_lwh, _yaw_of(rows.rotation)[:, None]], dim=1)


def waymo_from_boxes(boxes: Tensor) -> WaymoRows:
    """(K, 7 or 9) -> rows of the same frame."""
    boxes = boxes.double()
    length, width, height, heading = boxes[:, 3:7].unbind(1)
    return WaymoRows(boxes[:, :3], length, width, height, heading, boxes[:, 7:9] if boxes.shape[1] == 9 else None)


def boxes_from_waymo(rows: WaymoRows) -> Tensor:
    """Rows -> (K, 7) float64 of the same frame, or (K, 9) if speeds are known."""
    columns = torch.stack([rows.length, rows.width, rows.height, rows.heading], dim=1)
    return torch.cat([rows.center, columns, *([] if rows.speed is None else [rows.speed])], dim=1)


def kitti_from_boxes(boxes: Tensor, lidar_from_camera: SE3) -> KittiRows:
    """(K, 7 or 9) in the LiDAR frame -> rows in the frame of rectified camera 0; velocities have no place there."""
    boxes = boxes.double()
    bottom = torch.cat([boxes[:, :2], boxes[:, 2:3] - boxes[:, 5:6] / 2], dim=1)  # (K, 3), LiDAR frame
    rotation_y = wrap_angle(-boxes[:, 6] - math.pi / 2)
    return KittiRows(lidar_from_camera.inverse().apply(bottom), boxes[:, [5, 4, 3]], rotation_y)


def boxes_from_kitti(rows: KittiRows, lidar_from_camera: SE3) -> Tensor:
    """Rows -> (K, 7) float64 in the LiDAR frame: the bottom centre is moved first, then raised along the LiDAR's z."""
    center = lidar_from_camera.apply(rows.location)
    center = torch.cat([center[:, :2], center[:, 2:] + rows.size_hwl[:, :1] / 2], dim=1)
    yaw = wrap_angle(-rows.rotation_y - math.pi / 2)[:, None]
    return torch.cat([center, rows.size_hwl[:, [2, 1, 0]], yaw], dim=1)


def turned_quarter(boxes: Tensor, sign: int) -> Tensor:
    """(K, 7 or 9) turned by ``sign`` (1 or -1) quarter turns about +z: x, y become -sign y, sign x."""
    turned = boxes.clone()
    for x, y in ((0, 1), (7, 8))[: 1 + (boxes.shape[1] == 9)]:
        turned[:, x], turned[:, y] = -sign * boxes[:, y], sign * boxes[:, x]
    turned[:, 6] = wrap_angle(boxes[:, 6] + sign * math.pi / 2)
    return turned


def raised(boxes: Tensor, heights: float) -> Tensor:
    """(K, 7 or 9) with z raised by a multiple of each box's height."""
    return torch.cat([boxes[:, :2], boxes[:, 2:3] + heights * boxes[:, 5:6], boxes[:, 3:]], dim=1)


def _check_columns(rows: object, **widths: int) -> None:
    """Bring every column to float64 and refuse any that is not (K, width), or (K,) where the width is 0."""
    count = None
    for name, width in widths.items():
        value = getattr(rows, name)
        if value is None:
            continue
        column = (value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))).to(torch.float64)
        count = (len(column) if column.ndim else 0) if count is None else count
        wanted = (count, width) if width else (count,)
        if column.numel() == 0 and count == 0:
            column = column.reshape(wanted)                    # an empty list has no columns to count
        if tuple(column.shape) != wanted:
            raise ValueError(f"{type(rows).__name__}.{name} must be {wanted}, got {tuple(column.shape)}")
        object.__setattr__(rows, name, column)


def _quaternion_about_z(yaw: Tensor) -> Tensor:
    """(K,) rad -> (K, 4) unit quaternions w x y z."""
    zero = torch.zeros_like(yaw)
    return torch.stack([(yaw / 2).cos(), zero, zero, (yaw / 2).sin()], dim=1)


def _multiply(first: Tensor, second: Tensor) -> Tensor:
    """Hamilton product of quaternions w x y z, (4,) by (K, 4): turn by ``second``, then by ``first``."""
    w, x, y, z = first.unbind()
    matrix = torch.stack([w, -x, -y, -z, x, w, -z, y, y, z, w, -x, z, -y, x, w]).view(4, 4)
    return second @ matrix.T


def _yaw_of(rotation: Tensor) -> Tensor:
    """(K, 4) quaternions w x y z, of any length but zero -> (K,) heading of the turned x axis in the xy plane."""
    norm = rotation.norm(dim=1)
    if not bool((norm > 1e-6).all()):                          # NaN fails too
        row = int((~(norm > 1e-6)).nonzero()[0])
        raise ValueError(f"a quaternion must be finite and not zero, got {rotation[row].tolist()} in row {row}")
    w, x, y, z = (rotation / norm[:, None]).unbind(1)
    return torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
