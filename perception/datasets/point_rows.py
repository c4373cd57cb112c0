"""What all point file formats share: reading bytes, naming columns, and leaving out lost returns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError, suggestion

logger = logging.getLogger(__name__)

Points = tuple[np.ndarray, tuple[str, ...]]
# Other people's names for the columns that `PointCloud` knows.
ALIASES = {"i": "intensity", "reflectance": "intensity", "reflectivity": "intensity", "scalar_intensity": "intensity",
           "scalar_Intensity": "intensity", "laser_number": "ring"}


def finite_rows(path: Path, points: np.ndarray) -> np.ndarray:
    """The rows (N, C) without NaN or infinity. Raises DataError if none is left."""
    if not len(points):
        raise DataError(path, "points", "at least one point", "none")
    good = np.isfinite(points).all(axis=1)                                 # (N,)
    lost = int(len(good) - good.sum())
    if not lost:
        return points
    if lost == len(points):
        raise DataError(path, "points", "finite numbers", f"NaN or infinity in all {lost} rows")
    level = logging.WARNING if _first_of_folder(path.parent) else logging.DEBUG
    logger.log(level, "%s: dropped %d of %d points with NaN or infinity", path, lost, len(points))
    return points[good]


_warned_folders: set[Path] = set()


def _first_of_folder(folder: Path) -> bool:
    first = folder not in _warned_folders
    _warned_folders.add(folder)
    return first


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises DataError if it is absent or empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(path, "file", "a readable file", error.strerror or error) from error
    if not data:
        raise DataError(path, "file", "points", "an empty file")
    return data


def select_columns(path: Path, points: np.ndarray, names: Sequence[str], wanted: Sequence[str] | None) -> Points:
    """The wanted columns (all by default) of points (N, C), under our names. Raises DataError if one is missing."""
    known = [ALIASES.get(name, name) for name in names]
    if wanted is None:
        return points, tuple(known)
    for name in wanted:
        if name not in known:
            hint = suggestion(name, known)
            raise DataError(path, name, "a column of this name", f"the columns {', '.join(known)}{hint}")
    return points[:, [known.index(name) for name in wanted]], tuple(wanted)
