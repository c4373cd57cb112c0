"""Places on Earth: coordinates and distances, S2 cells, and the adaptive partition that makes them into classes."""

from .cell_list import NO_CELL, CellList
from .coordinates import EARTH_RADIUS_KM, checked_latlng, great_circle_km
from .partition import GeoPartition, adaptive_partition

__all__ = [
    "EARTH_RADIUS_KM", "NO_CELL", "CellList", "GeoPartition", "adaptive_partition", "checked_latlng",
    "great_circle_km",
]
