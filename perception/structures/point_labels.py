"""What LiDAR points belong to: a class each, and where known an instance; as annotated, and as a model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .segmentation import IGNORE_LABEL


@dataclass(frozen=True, eq=False)
class PointLabels:
    """The class, and where known the instance, of each point of a cloud; rows are those of the cloud.

    Args:
        classes: (N,) int64 class; IGNORE_LABEL where it is unknown or of no interest.
        instances: (N,) int64 number of the instance, unique within the frame, from 1; 0 where there is none. None if
            instances are not labelled.
        names: of the classes, in their order; none if unknown.

    Raises:
        ValueError: a column is not (N,) int64, or the two differ in length.
    """

    classes: Tensor
    instances: Tensor | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_rows(self.classes, self.instances)

    @classmethod
    def cat(cls, parts: Sequence[PointLabels]) -> PointLabels:
        """The labels one after the other; names, and whether there are instances, are those of the first.

        Raises:
            ValueError: there is no part, or instances of one are missing.
        """
        if not parts:
            raise ValueError("PointLabels.cat takes at least one part")
        first = parts[0]
        instances = [part.instances for part in parts if part.instances is not None]
        if first.instances is not None and len(instances) < len(parts):
            raise ValueError(f"instances are missing in {len(parts) - len(instances)} of {len(parts)} parts")
        return replace(
            first,
            classes=torch.cat([part.classes for part in parts]),
            instances=None if first.instances is None else torch.cat(instances),
        )

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: slice | Tensor) -> PointLabels:
        """Some of the rows: by slice, mask or int64 index."""
        instances = None if self.instances is None else self.instances[index]
        return replace(self, classes=self.classes[index], instances=instances)

    def filled(self, count: int, label: int = IGNORE_LABEL, instance: int = 0) -> PointLabels:
        """``count`` rows of one class and instance, with the columns that these labels have."""
        classes = self.classes.new_full((count,), label)
        instances = None if self.instances is None else self.instances.new_full((count,), instance)
        return replace(self, classes=classes, instances=instances)

    def to(self, device: torch.device | str) -> PointLabels:
        """The same on another device."""
        instances = None if self.instances is None else self.instances.to(device, non_blocking=True)
        return replace(self, classes=self.classes.to(device, non_blocking=True), instances=instances)


@dataclass(frozen=True, eq=False)
class PointPredictions:
    """What a model says of each point of a frame; rows are those of the cloud that the model was given.

    Args:
        token: the frame's name, as in `Frame.token`.
        timestamp_ns: the frame's time.
        classes: (N,) int64 index into ``names``; IGNORE_LABEL for a point with a NaN or an infinity.
        names: class names of the model.
        instances: (N,) int64 number of the instance within the frame, from 1; 0 where there is none, as for all of
            stuff. None if the model finds no instances.

    Raises:
        ValueError: a column is not (N,) int64, or the two differ in length.
    """

    token: str
    timestamp_ns: int
    classes: Tensor
    names: tuple[str, ...]
    instances: Tensor | None = None

    def __post_init__(self) -> None:
        _check_rows(self.classes, self.instances)

    def __len__(self) -> int:
        return len(self.classes)

    def to(self, device: torch.device | str) -> PointPredictions:
        """The same on another device."""
        instances = None if self.instances is None else self.instances.to(device)
        return replace(self, classes=self.classes.to(device), instances=instances)


def _check_rows(classes: Tensor, instances: Tensor | None) -> None:
    for name, value in (("classes", classes), ("instances", instances)):
        if value is not None and (value.dtype != torch.int64 or value.dim() != 1):
            raise ValueError(f"{name} must be (N,) int64, got {tuple(value.shape)} {value.dtype}")
    if instances is not None and len(instances) != len(classes):
        raise ValueError(f"there are {len(instances)} instances for {len(classes)} classes")
