"""One vector map of a whole drive."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .geo_reference import GeoReference
from .polylines import Polylines
from .vector_map import MAP_CLASSES


@dataclass(frozen=True, eq=False)
class GlobalMap:
    """The map elements along a drive, in the global frame of its poses.

    Args:
        lines: P polylines (V, 3) float64 [m]; a crossing is a closed outline.
        labels: (P,) int64 index into ``classes``.
        confidence: (P,) float32 in [0, 1]: scores summed over the frames that saw an element, divided by the number of
            frames that had it in view.
        trajectory: (T, 3) float64 positions of the ego [m], one a frame.
        classes: class names.
        geo_reference: where on Earth the global frame lies; None if unknown.

    Raises:
        ValueError: a shape is wrong.
    """

    lines: Polylines
    labels: Tensor
    confidence: Tensor
    trajectory: Tensor
    classes: tuple[str, ...] = MAP_CLASSES
    geo_reference: GeoReference | None = None

    def __post_init__(self) -> None:
        if self.lines.dim != 3:
            raise ValueError(f"lines must have vertices (V, 3), got {tuple(self.lines.vertices.shape)}")
        count = (len(self.lines),)
        for name, shape in (("labels", count), ("confidence", count), ("trajectory", (len(self.trajectory), 3))):
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name} must be {shape}, got {tuple(getattr(self, name).shape)}")

    @classmethod
    def empty(cls, classes: tuple[str, ...] = MAP_CLASSES) -> GlobalMap:
        """No element and no drive."""
        return cls(
            Polylines(torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)),
            torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0, 3, dtype=torch.float64), classes,
        )

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: slice | Tensor) -> GlobalMap:
        return replace(
            self, lines=self.lines[index], labels=self.labels[index], confidence=self.confidence[index]
        )

    def names(self) -> list[str]:
        """P class names."""
        return [self.classes[label] for label in self.labels.tolist()]
