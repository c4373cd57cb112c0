"""Navigation (SD) maps: reading them, looking around a pose, and the errors that real ones have."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import torch

from ...errors import DataError
from ...structures import SE3, Polylines, SDMap
from ...structures.line_geometry import resample
from ...structures.vector_map import SD_CATEGORIES
from .line_clipping import Region, clip_line, into_ego, region_corners

VERTEX_SPACING_M = 15.0             # of a degraded road
RIGID_SHARE = 0.75                  # of the variance of a degraded vertex that its whole road has in common


@dataclass(frozen=True, eq=False)
class SDLines:
    """All lines of an SD map in its own metric frame.

    Args:
        names: P names, unique in the map.
        lines: P arrays (V, 2) float64, global metres, V >= 2.
        categories: (P,) int64 index into `SD_CATEGORIES`.
        lanes: (P,) int64 lanes of a road, both directions together; 0 if unknown.
        right_hand: whether traffic keeps to the right.
    """

    names: tuple[str, ...]
    lines: tuple[np.ndarray, ...]
    categories: np.ndarray
    lanes: np.ndarray
    right_hand: bool = True

    def __len__(self) -> int:
        return len(self.lines)

    def around(self, global_from_ego: SE3, region: Region) -> SDMap:
        """What lies in a region around a pose; nothing there is an empty `SDMap`.

        A line that leaves the region and comes back gives several lines.

        Args:
            global_from_ego: the pose.
            region: x0, y0, x1, y1 [m], ego frame.
        """
        corners = shapely.Polygon(region_corners(region, global_from_ego))
        parts: list[np.ndarray] = []
        owners: list[int] = []
        for row in np.sort(self._tree.query(corners)).tolist():
            clipped = clip_line(into_ego(self.lines[row], global_from_ego), region)
            parts += clipped
            owners += [row] * len(clipped)
        return SDMap(
            Polylines.from_lines([torch.from_numpy(part.astype(np.float32)) for part in parts]),
            torch.from_numpy(self.categories[owners]),
            torch.from_numpy(self.lanes[owners]),
            self.right_hand,
        )

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([shapely.LineString(line) for line in self.lines])


@dataclass(frozen=True)
class SDMapErrors:
    """What real SD maps are like: imprecise, incomplete, and without lane counts.

    The errors belong to the map, not to the look at it: a road has the same ones in every frame of a drive. They depend
    on the seed and the road's name alone. Crossings and walkways suffer as roads do.

    Args:
        seed: of the errors, >= 0.
        sigma_m: standard deviation of a vertex along x and along y [m]. Three quarters of the variance move the road as
            a whole, the rest its vertices (one every 15 m) on their own.
        drop: share of the lines that are missing, in [0, 1].
        keep_lane_counts: whether the map tells how many lanes a road has.

    Raises:
        ValueError: an argument lies outside its range.
    """

    seed: int = 0
    sigma_m: float = 2.0
    drop: float = 0.2
    keep_lane_counts: bool = False

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be >= 0, got {self.seed}")
        if not 0.0 <= self.sigma_m < math.inf:
            raise ValueError(f"sigma_m must be finite and >= 0, got {self.sigma_m}")
        if not 0.0 <= self.drop <= 1.0:
            raise ValueError(f"drop must lie in [0, 1], got {self.drop}")

    def applied_to(self, truth: SDLines) -> SDLines:
        """The map with errors; ``truth`` is left as it is."""
        rows, lines = [], []
        for row, name in enumerate(truth.names):
            key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
            rng = np.random.default_rng([self.seed, key])
            if rng.random() < self.drop:
                continue
            points = resample(truth.lines[row], VERTEX_SPACING_M)                  # (V, 2)
            shift = math.sqrt(RIGID_SHARE) * rng.normal(size=2)
            jitter = math.sqrt(1.0 - RIGID_SHARE) * rng.normal(size=points.shape)
            rows.append(row)
            lines.append(points + self.sigma_m * (shift + jitter))
        kept = np.array(rows, dtype=np.int64)
        lanes = truth.lanes[kept] if self.keep_lane_counts else np.zeros_like(kept)
        names = tuple(truth.names[row] for row in rows)
        return SDLines(names, tuple(lines), truth.categories[kept], lanes, truth.right_hand)


def read_sd_geojson(path: Path) -> SDLines:
    """An SD map from a GeoJSON FeatureCollection of LineStrings in a metric frame, as the synthetic city has it.

    Args:
        path: the file. Every feature has the property ``category`` (road, cross_walk, side_walk), a road perhaps
            ``lanes``; the foreign member ``driving_side`` is "right" (also if absent) or "left".

    Raises:
        DataError: the file is absent or malformed (names the feature).
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("features"), list):
        raise DataError(path, "features", "a GeoJSON FeatureCollection", type(content).__name__)
    side = content.get("driving_side", "right")
    if side not in ("right", "left"):
        raise DataError(path, "driving_side", '"right" or "left"', side)
    names, rows = [], []
    for number, feature in enumerate(content["features"]):
        try:
            if feature["geometry"]["type"] != "LineString":
                raise ValueError(f"a geometry of type LineString, got {feature['geometry']['type']}")
            properties = feature["properties"]
            rows.append(_checked(feature["geometry"]["coordinates"], properties["category"], properties.get("lanes")))
            names.append(str(feature.get("id", number)))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(path, f"features[{number}]", "a road, cross_walk or side_walk line", error) from error
    return _columns(names, rows, side == "right")


def read_sd_elements(path: Path, lanes_key: str = "lanes") -> SDLines:
    """An SD map from OpenLane-V2's list of {points (n, 2) global metres, category} and, in extended maps, lane counts.

    Elements of fewer than two points are left out.

    Args:
        path: ``sdmap.json`` of a segment.
        lanes_key: name of a road's lane count.

    Raises:
        DataError: the file is absent or malformed (names the element).
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError(path, "file", "a list of SD map elements", type(content).__name__)
    names, rows = [], []
    for number, element in enumerate(content):
        try:
            if len(element["points"]) >= 2:
                rows.append(_checked(element["points"], element["category"], element.get(lanes_key)))
                names.append(str(number))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(path, f"[{number}]", "points (n, 2) and a category of an SD map", repr(error)) from error
    return _columns(names, rows, right_hand=True)


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises DataError if it is absent or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(path, "file", "a readable file", error.strerror or error) from error
    except ValueError as error:
        raise DataError(path, "file", "JSON", error) from error


def _checked(points: Any, category: str, lanes: Any) -> tuple[np.ndarray, int, int]:
    """Line (V, 2), category and lanes of one element. Raises ValueError if one of them is none."""
    line = np.array(points, dtype=np.float64)
    if line.ndim != 2 or line.shape[0] < 2 or line.shape[1] < 2 or not np.isfinite(line).all():
        raise ValueError(f"finite points (n, 2) with n >= 2, got shape {line.shape}")
    if category not in SD_CATEGORIES:
        raise ValueError(f"a category of {', '.join(SD_CATEGORIES)}, got {category!r}")
    count = 0 if lanes is None else int(lanes)
    if count < 0:
        raise ValueError(f"lanes >= 0, got {lanes}")
    return line[:, :2], SD_CATEGORIES.index(category), count


def _columns(names: Sequence[str], rows: Sequence[tuple[np.ndarray, int, int]], right_hand: bool) -> SDLines:
    lines = tuple(line for line, _, _ in rows)
    categories = np.array([category for _, category, _ in rows], dtype=np.int64)
    return SDLines(tuple(names), lines, categories, np.array([count for *_, count in rows], dtype=np.int64), right_hand)
