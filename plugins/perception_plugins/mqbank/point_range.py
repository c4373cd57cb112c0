"""From metres to the unit cube that queries are refined in, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PointRange:
    """The space that a model sees.

    Args:
        low: least x, y, z [m].
        high: greatest x, y, z [m].

    Raises:
        ValueError: an axis has no extent.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"a range needs low < high on each axis, got {self.low} and {self.high}")

    @classmethod
    def of(cls, limits: Sequence[float]) -> PointRange:
        """From x y z of the lower, then of the upper corner. Raises ValueError unless there are six numbers."""
        if len(limits) != 6:
            raise ValueError(f"point_range must be six numbers, got {len(limits)}")
        x0, y0, z0, x1, y1, z1 = (float(limit) for limit in limits)
        return cls((x0, y0, z0), (x1, y1, z1))

    def to_unit(self, points: Tensor) -> Tensor:
        """(..., 3) metres -> (..., 3), [0, 1] within the range."""
        low, high = points.new_tensor(self.low), points.new_tensor(self.high)
        return (points - low) / (high - low)

    def to_metres(self, points: Tensor) -> Tensor:
        """(..., 3) in [0, 1] -> (..., 3) metres."""
        low, high = points.new_tensor(self.low), points.new_tensor(self.high)
        return points * (high - low) + low
