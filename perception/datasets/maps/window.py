"""Which part of the world a local map shows, and how it is cut out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import shapely

from ...errors import ConfigError, suggestion


@dataclass(frozen=True)
class MapWindow:
    """The region of a local map and the precision of its lines.

    The defaults are those of VectorMapNet (Liu et al., ICML 2023).

    Args:
        region: x0, y0, x1, y1 [m], ego frame.
        inset: boundaries and crossings are cut by the region less this on every side [m], so that the region's own edge
            is never one of their lines.
        tolerance: of the Douglas-Peucker simplification [m], seen from above; 0 keeps every corner.
        dim: coordinates of the lines: 2, or 3 where the map has heights.

    Raises:
        ValueError: the region less its inset is empty, or another value is out of its range.
    """

    region: Sequence[float] = (-30.0, -15.0, 30.0, 15.0)
    inset: float = 0.2
    tolerance: float = 0.2
    dim: int = 2

    def __post_init__(self) -> None:
        if len(self.region) != 4 or not all(math.isfinite(value) for value in self.region):
            raise ValueError(f"region must be x0, y0, x1, y1 in metres, got {self.region}")
        object.__setattr__(self, "region", tuple(float(value) for value in self.region))   # configs give lists
        for name in ("inset", "tolerance"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be >= 0 m, got {getattr(self, name)}")
        x0, y0, x1, y1 = self.region
        if min(x1 - x0, y1 - y0) <= 2 * self.inset:
            raise ValueError(f"region must be wider than twice the inset of {self.inset} m, got {self.region}")
        if self.dim not in (2, 3):
            raise ValueError(f"dim must be 2 or 3, got {self.dim}")

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | MapWindow) -> MapWindow:
        """From the keywords of the constructor. Raises ConfigError if one is unknown or its value is refused."""
        if isinstance(config, MapWindow):
            return config
        known = [field.name for field in fields(cls)]
        for name in config:
            if name not in known:
                raise ConfigError(f'a map has no option "{name}"{suggestion(name, known)}; it has {", ".join(known)}')
        try:
            return cls(**config)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"map: {error}") from error

    @property
    def outer(self) -> shapely.Polygon:
        """The region."""
        return shapely.box(*self.region)

    @property
    def inner(self) -> shapely.Polygon:
        """The region less its inset."""
        x0, y0, x1, y1 = self.region
        return shapely.box(x0 + self.inset, y0 + self.inset, x1 - self.inset, y1 - self.inset)
