"""Vector maps around the vehicle: what is true, what a model says, and what a navigation map knows."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .polylines import Polylines
from .se3 import SE3

MAP_CLASSES = ("ped_crossing", "divider", "boundary")
OUTLINES = ("ped_crossing", "boundary")              # classes whose lines go around an area in a fixed sense
SD_CATEGORIES = ("road", "cross_walk", "side_walk")
LANE_CLASSES = ("lane_segment", "ped_crossing")
LINE_TYPES = ("none", "solid", "dashed")
AREA_CLASSES = ("ped_crossing", "road_boundary")


@dataclass(frozen=True, eq=False)
class VectorMap:
    """The true map elements within a region around the vehicle, in the frame's ego frame.

    Boundaries have the road to their right, and crossings run counter-clockwise; both may be open where the region cuts
    them.

    Args:
        lines: P polylines [m].
        labels: (P,) int64 index into ``classes``.
        classes: class names.

    Raises:
        ValueError: the labels are not int64 (P,) or (seen on the CPU) outside the classes.
    """

    lines: Polylines
    labels: Tensor
    classes: tuple[str, ...] = MAP_CLASSES

    def __post_init__(self) -> None:
        _check_labels(self.lines, self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: slice | Tensor) -> VectorMap:
        return replace(self, lines=self.lines[index], labels=self.labels[index])

    def names(self) -> list[str]:
        """P class names."""
        return [self.classes[label] for label in self.labels.tolist()]

    def with_lines(self, lines: Polylines) -> VectorMap:
        """The same elements elsewhere."""
        return replace(self, lines=lines)

    def mirrored_y(self) -> VectorMap:
        """Left and right exchanged; outlines are run through from their other end, so their sense stays."""
        outlines = torch.tensor([name in OUTLINES for name in self.classes], device=self.labels.device)
        return self.with_lines(self.lines.mirrored_y().reversed(outlines[self.labels]))

    def to(self, device: torch.device | str) -> VectorMap:
        """The same on another device."""
        return replace(self, lines=self.lines.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, eq=False)
class MapPredictions:
    """Map elements that a model found in one frame, best first, in the frame's ego frame.

    Args:
        token: the frame's name, as in `Frame.token`.
        timestamp_ns: the frame's time.
        lines: P polylines [m].
        scores: (P,) float32 confidence in [0, 1].
        labels: (P,) int64 index into ``classes``.
        classes: class names of the model.
        global_from_ego: the frame's pose; None if unknown.
        lanes: lane segments, areas and lane connections of models that give them.

    Raises:
        ValueError: the columns differ in length or are not one-dimensional, or the labels are not int64.
    """

    token: str
    timestamp_ns: int
    lines: Polylines
    scores: Tensor
    labels: Tensor
    classes: tuple[str, ...] = MAP_CLASSES
    global_from_ego: SE3 | None = None
    lanes: LaneGraph | None = None

    def __post_init__(self) -> None:
        _check_labels(self.lines, self.labels, self.classes)
        if self.scores.shape != self.labels.shape:
            raise ValueError(f"scores must be ({len(self.lines)},), got {tuple(self.scores.shape)}")

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: slice | Tensor) -> MapPredictions:
        return replace(self, lines=self.lines[index], scores=self.scores[index], labels=self.labels[index])

    def names(self) -> list[str]:
        """P class names."""
        return [self.classes[label] for label in self.labels.tolist()]

    def to(self, device: torch.device | str) -> MapPredictions:
        """The same on another device."""
        return replace(
            self,
            lines=self.lines.to(device),
            scores=self.scores.to(device),
            labels=self.labels.to(device),
            lanes=None if self.lanes is None else self.lanes.to(device),
        )


@dataclass(frozen=True, eq=False)
class SDMap:
    """What a navigation (standard-definition) map knows of the surroundings: roads as lines, without lane geometry.

    Args:
        lines: P polylines [m] in the frame's ego frame, as precise as the map is.
        categories: (P,) int64 index into `SD_CATEGORIES`.
        lanes: (P,) int64 number of lanes of a road, both directions together; 0 if unknown.
        right_hand: whether traffic keeps to the right, which such a map knows of the country.

    Raises:
        ValueError: a column is not int64 (P,), or (seen on the CPU) a category is unknown.
    """

    lines: Polylines
    categories: Tensor
    lanes: Tensor
    right_hand: bool = True

    def __post_init__(self) -> None:
        _check_labels(self.lines, self.categories, SD_CATEGORIES, "categories")
        if self.lanes.shape != self.categories.shape or self.lanes.dtype != torch.int64:
            raise ValueError(f"lanes must be int64 ({len(self)},), got {self.lanes.dtype} {tuple(self.lanes.shape)}")

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: slice | Tensor) -> SDMap:
        return replace(self, lines=self.lines[index], categories=self.categories[index], lanes=self.lanes[index])

    def with_lines(self, lines: Polylines) -> SDMap:
        """The same roads elsewhere."""
        return replace(self, lines=lines)

    def moved_by(self, transform: SE3) -> SDMap:
        """The roads in another frame; ``transform`` is new_from_old."""
        return self.with_lines(self.lines.moved_by(transform))

    def scaled_by(self, factor: float) -> SDMap:
        """The roads enlarged about the origin."""
        return self.with_lines(self.lines.scaled_by(factor))

    def mirrored_y(self) -> SDMap:
        """Left and right exchanged, so traffic keeps to the other side."""
        return replace(self, lines=self.lines.mirrored_y(), right_hand=not self.right_hand)

    def to(self, device: torch.device | str) -> SDMap:
        """The same on another device."""
        return replace(
            self, lines=self.lines.to(device), categories=self.categories.to(device), lanes=self.lanes.to(device)
        )


@dataclass(frozen=True, eq=False)
class LaneGraph:
    """Lane segments with their connections, and areas, in the form of OpenLane-V2; ego frame, metres.

    The three lines of a lane run in driving direction.

    Args:
        centers, lefts, rights: (N, K, 3) float, K points equally spaced along each line.
        left_types, right_types: (N,) int64 index into `LINE_TYPES`.
        connections: (N, N) float; [i, j] is how sure it is that lane j follows lane i (truth: 0 or 1).
        areas: outlines of A areas, (V, 3) vertices; a closed one repeats its first vertex.
        area_labels: (A,) int64 index into `AREA_CLASSES`.
        scores: (N,) confidence of the lanes of a model; None of the truth.
        area_scores: (A,) likewise.

    Raises:
        ValueError: a shape is wrong.
    """

    centers: Tensor
    lefts: Tensor
    rights: Tensor
    left_types: Tensor
    right_types: Tensor
    connections: Tensor
    areas: Polylines = field(default_factory=lambda: Polylines.from_lines([], dim=3))
    area_labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    scores: Tensor | None = None
    area_scores: Tensor | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.centers.shape)
        if len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"centers must be (N, K, 3), got {shape}")
        wanted = {
            "lefts": shape, "rights": shape, "left_types": shape[:1], "right_types": shape[:1],
            "connections": (shape[0], shape[0]), "area_labels": (len(self.areas),),
            "scores": shape[:1], "area_scores": (len(self.areas),),
        }
        for name, size in wanted.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != size:
                raise ValueError(f"{name} must be {size}, got {tuple(value.shape)}")

    def __len__(self) -> int:
        return len(self.centers)

    def moved_by(self, transform: SE3) -> LaneGraph:
        """The lanes in another frame; ``transform`` is new_from_old."""
        return replace(
            self,
            centers=transform.apply(self.centers),
            lefts=transform.apply(self.lefts),
            rights=transform.apply(self.rights),
            areas=self.areas.moved_by(transform),
        )

    def scaled_by(self, factor: float) -> LaneGraph:
        """The lanes enlarged about the origin."""
        return replace(
            self, centers=self.centers * factor, lefts=self.lefts * factor, rights=self.rights * factor,
            areas=self.areas.scaled_by(factor),
        )

    def mirrored_y(self) -> LaneGraph:
        """Left and right exchanged; driving directions stay, so the left line becomes the right one."""
        flip = self.centers.new_tensor([1.0, -1.0, 1.0])
        return replace(
            self, centers=self.centers * flip, lefts=self.rights * flip, rights=self.lefts * flip,
            left_types=self.right_types, right_types=self.left_types, areas=self.areas.mirrored_y(),
        )

    def to(self, device: torch.device | str) -> LaneGraph:
        """The same on another device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return replace(self, **moved)


def _check_labels(lines: Sized, labels: Tensor, classes: tuple[str, ...], name: str = "labels") -> None:
    if tuple(labels.shape) != (len(lines),) or labels.dtype != torch.int64:
        raise ValueError(f"{name} must be int64 ({len(lines)},), got {labels.dtype} {tuple(labels.shape)}")
    if labels.device.type == "cpu" and len(labels):        # elsewhere it would wait for the device
        low, high = labels.aminmax()
        if low < 0 or high >= len(classes):
            raise ValueError(f"{name} must lie in [0, {len(classes)}), got {low} to {high}")
