"""What a human (or a simulator) says is in a frame."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .boxes3d import Boxes3D


@dataclass(frozen=True, eq=False)
class Annotations:
    """The annotated objects of a frame, one row each, in the frame's ego frame.

    Args:
        boxes: (K, 7 or 9) boxes; velocities are those over ground, turned into the ego frame.
        labels: (K,) int64 index into ``classes``; -1 is an object outside the class list.
        classes: class names of the data set.
        num_lidar_pts: (K,) int64 LiDAR returns inside the box as the data set states it; -1 if unknown.
        instance_ids: K track names, or none at all.
        attributes: K attribute names ("" if none), or none at all.
        visibility: (K,) float32 visible fraction in [0, 1], NaN if unknown; or None.

    Raises:
        ValueError: the columns differ in length, or the labels are not int64 or (seen on the CPU) outside the classes.
    """

    boxes: Boxes3D
    labels: Tensor
    classes: tuple[str, ...]
    num_lidar_pts: Tensor | None = None
    instance_ids: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    visibility: Tensor | None = None

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64:
            raise ValueError(f"labels must be int64, got {self.labels.dtype}")
        columns: dict[str, Sized | None] = {
            "labels": self.labels,
            "num_lidar_pts": self.num_lidar_pts,
            "instance_ids": self.instance_ids or None,
            "attributes": self.attributes or None,
            "visibility": self.visibility,
        }
        for name, column in columns.items():
            if column is not None and len(column) != len(self.boxes):
                raise ValueError(f"{name} has {len(column)} rows for {len(self.boxes)} boxes")
        if self.labels.device.type == "cpu" and len(self):     # elsewhere it would wait for the device
            low, high = self.labels.aminmax()
            if low < -1 or high >= len(self.classes):
                raise ValueError(f"labels must lie in [-1, {len(self.classes)}), got {low} to {high}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: slice | Tensor) -> Annotations:
        """Some of the objects: by slice, mask or int64 index."""
        rows = torch.arange(len(self))[index.cpu() if isinstance(index, Tensor) else index].tolist()
        return replace(
            self,
            boxes=self.boxes[index],
            labels=self.labels[index],
            num_lidar_pts=None if self.num_lidar_pts is None else self.num_lidar_pts[index],
            instance_ids=tuple(self.instance_ids[row] for row in rows) if self.instance_ids else (),
            attributes=tuple(self.attributes[row] for row in rows) if self.attributes else (),
            visibility=None if self.visibility is None else self.visibility[index],
        )

    def names(self) -> list[str]:
        """K class names; "ignore" where the label is -1."""
        return ["ignore" if label < 0 else self.classes[label] for label in self.labels.tolist()]

    def to(self, device: torch.device | str) -> Annotations:
        """The same on another device."""
        return replace(
            self,
            boxes=self.boxes.to(device),
            labels=self.labels.to(device),
            num_lidar_pts=None if self.num_lidar_pts is None else self.num_lidar_pts.to(device),
            visibility=None if self.visibility is None else self.visibility.to(device),
        )
