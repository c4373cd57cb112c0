"""What the pixels of a picture show: a class each, and the instances and regions that they make up."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

IGNORE_LABEL = 255


@dataclass(frozen=True, eq=False)
class Segments:
    """S regions of a picture; those of stuff are one a class, those of things one an instance.

    Args:
        labels: (S,) int64 class.
        masks: (S, H, W) bool.

    Raises:
        ValueError: dtypes, numbers of dimensions or of segments differ.
    """

    labels: Tensor
    masks: Tensor

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.dim() != 1:
            raise ValueError(f"labels must be (S,) int64, got {tuple(self.labels.shape)} {self.labels.dtype}")
        if self.masks.dtype != torch.bool or self.masks.dim() != 3 or len(self.masks) != len(self.labels):
            raise ValueError(
                f"masks must be ({len(self.labels)}, H, W) bool, got {tuple(self.masks.shape)} {self.masks.dtype}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def classes(self, fill: int = IGNORE_LABEL) -> Tensor:
        """(H, W) int64 class of each pixel, ``fill`` where there is none; of segments that overlap, the last one's."""
        found = torch.full(self.masks.shape[1:], fill, dtype=torch.int64, device=self.masks.device)
        for label, mask in zip(self.labels, self.masks, strict=True):
            found = torch.where(mask, label, found)
        return found

    def to(self, device: torch.device | str) -> Segments:
        """The same on another device."""
        return Segments(self.labels.to(device), self.masks.to(device))


@dataclass(frozen=True, eq=False)
class PixelLabels:
    """The class, and where known the instance, of each pixel.

    Args:
        classes: (H, W) int64 class; IGNORE_LABEL where it is unknown or of no interest.
        instances: (H, W) int64 number of the instance within the picture, from 1; 0 where there is none. None if
            instances are not labelled.
        names: of the classes, in their order; none if unknown.

    Raises:
        ValueError: a map is not (H, W) int64, or the two differ in size.
    """

    classes: Tensor
    instances: Tensor | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("classes", self.classes), ("instances", self.instances)):
            if value is not None:
                _check_map(name, value)
        if self.instances is not None and self.instances.shape != self.classes.shape:
            raise ValueError(f"instances are {tuple(self.instances.shape)}, classes {tuple(self.classes.shape)}")

    def segments(self, things: Collection[int] = ()) -> Segments:
        """Each instance of the classes ``things``, and each other class, in ascending order of class and instance.

        Pixels of a thing without an instance belong to no segment.
        """
        instances = torch.zeros_like(self.classes) if self.instances is None else self.instances
        is_thing = torch.isin(self.classes, self.classes.new_tensor(sorted(things)))
        numbers = torch.where(is_thing, instances, 0)
        known = (self.classes != IGNORE_LABEL) & (~is_thing | (instances > 0))
        span = int(numbers.max()) + 1 if numbers.numel() else 1
        codes = torch.where(known, self.classes * span + numbers, -1)                                # (H, W)
        found = codes.unique()                                                                       # rising
        found = found[found >= 0]                                                                    # (S,)
        return Segments(found // span, codes == found[:, None, None])

    def to(self, device: torch.device | str) -> PixelLabels:
        """The same on another device."""
        return self.changed(lambda plane: plane.to(device))

    def mirrored(self) -> PixelLabels:
        """Left and right exchanged."""
        return self.changed(lambda plane: plane.flip(1))

    def resized(self, height: int, width: int) -> PixelLabels:
        """Of another size; each pixel takes what stands at the place of its centre."""
        rows, columns = (
            ((torch.arange(new, device=self.classes.device) + 0.5) * (old / new)).long().clamp(max=old - 1)
            for new, old in zip((height, width), self.classes.shape, strict=True)
        )
        return self.changed(lambda plane: plane[rows[:, None], columns])

    def changed(self, change: Callable[[Tensor], Tensor]) -> PixelLabels:
        """The same change of both planes, each (H, W) int64."""
        instances = None if self.instances is None else change(self.instances)
        return replace(self, classes=change(self.classes), instances=instances)


@dataclass(frozen=True, eq=False)
class PanopticPrediction:
    """Regions that do not overlap.

    Args:
        ids: (H, W) int64 region of each pixel: i + 1 for region i, 0 for none.
        labels: (S,) int64 class of each region.
        scores: (S,) float32 confidence of each region.

    Raises:
        ValueError: a shape or dtype is wrong, or an id is that of no region (looked at on the CPU alone).
    """

    ids: Tensor
    labels: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        _check_map("ids", self.ids)
        _check_columns(self.labels, self.scores, len(self.labels))
        if self.ids.numel() and self.ids.device.type == "cpu":       # elsewhere it would wait for the device
            lowest, highest = int(self.ids.min()), int(self.ids.max())
            if not 0 <= lowest <= highest <= len(self.labels):
                raise ValueError(f"ids must lie in [0, {len(self.labels)}], got {lowest} to {highest}")

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> PanopticPrediction:
        """The same on another device."""
        return PanopticPrediction(self.ids.to(device), self.labels.to(device), self.scores.to(device))


@dataclass(frozen=True, eq=False)
class InstancePrediction:
    """Objects by mask, best first; masks may overlap.

    Args:
        masks: (N, H, W) bool.
        labels: (N,) int64 class.
        scores: (N,) float32 confidence.

    Raises:
        ValueError: a shape or dtype is wrong.
    """

    masks: Tensor
    labels: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        if self.masks.dtype != torch.bool or self.masks.dim() != 3:
            raise ValueError(f"masks must be (N, H, W) bool, got {tuple(self.masks.shape)} {self.masks.dtype}")
        _check_columns(self.labels, self.scores, len(self.masks))

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> InstancePrediction:
        """The same on another device."""
        return InstancePrediction(self.masks.to(device), self.labels.to(device), self.scores.to(device))


@dataclass(frozen=True, eq=False)
class SegmentationPredictions:
    """What a model says that the pixels of one picture show, in the size of the picture.

    Args:
        token: the frame's name, as in `Frame.token`.
        timestamp_ns: the frame's time.
        classes: (H, W) int64 class.
        panoptic: regions that do not overlap, of models that give them.
        instances: objects, likewise.
        class_names: names of the classes; empty if they are those of the data set.
        things: classes whose regions are instances; empty if the model does not tell instances apart.

    Raises:
        ValueError: the map is not (H, W) int64, or the parts differ in size.
    """

    token: str
    timestamp_ns: int
    classes: Tensor
    panoptic: PanopticPrediction | None = None
    instances: InstancePrediction | None = None
    class_names: tuple[str, ...] = ()
    things: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_map("classes", self.classes)
        if self.panoptic is not None and self.panoptic.ids.shape != self.classes.shape:
            raise ValueError(f"panoptic is {tuple(self.panoptic.ids.shape)}, classes {tuple(self.classes.shape)}")
        if self.instances is not None and self.instances.masks.shape[1:] != self.classes.shape:
            size = tuple(self.instances.masks.shape[1:])
            raise ValueError(f"instances are {size}, classes {tuple(self.classes.shape)}")

    def to(self, device: torch.device | str) -> SegmentationPredictions:
        """The same on another device."""
        return replace(
            self,
            classes=self.classes.to(device),
            panoptic=None if self.panoptic is None else self.panoptic.to(device),
            instances=None if self.instances is None else self.instances.to(device),
        )


def _check_map(name: str, value: Tensor) -> None:
    if value.dtype != torch.int64 or value.dim() != 2:
        raise ValueError(f"{name} must be (H, W) int64, got {tuple(value.shape)} {value.dtype}")


def _check_columns(labels: Tensor, scores: Tensor, count: int) -> None:
    if labels.dtype != torch.int64 or labels.shape != (count,):
        raise ValueError(f"labels must be ({count},) int64, got {tuple(labels.shape)} {labels.dtype}")
    if not scores.is_floating_point() or scores.shape != (count,):
        raise ValueError(f"scores must be ({count},) of floats, got {tuple(scores.shape)} {scores.dtype}")
