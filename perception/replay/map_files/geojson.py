"""A drive's map as GeoJSON (RFC 7946)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...atomic_write import write_json
from ...errors import DataError
from ...structures import GlobalMap

DEGREE_DIGITS, METRE_DIGITS = 8, 3                         # a millimetre either way
LOCAL = {"kind": "local", "axes": ["x", "y", "z"], "unit": "metre", "frame": "global frame of the recording's poses"}


def write_geojson(path: Path | str, drive_map: GlobalMap) -> Path:
    """Write a map, whole or not at all; returns the path.

    Each element is a feature with ``class`` and ``confidence``; closed ones are polygons, the others lines. If it is
    known where on Earth the drive was, positions are longitude, latitude [deg] and height above the WGS84 ellipsoid
    [m]. Otherwise they are metres in the recording's global frame: ``crs``: null and ``coordinate_system`` say so.

    Raises:
        DataError: the file cannot be written.
    """
    reference = drive_map.geo_reference
    content: dict[str, Any] = {"type": "FeatureCollection"}
    if reference is None:
        content |= {"crs": None, "coordinate_system": LOCAL}
    closed = drive_map.lines.is_closed().tolist()
    elements = zip(drive_map.lines, drive_map.names(), drive_map.confidence.tolist(), closed, strict=True)
    features = []
    for line, name, confidence, is_ring in elements:
        points = line.numpy()
        places = points.round(METRE_DIGITS) if reference is None else _degrees(reference.to_wgs84(points))
        features.append(_feature(places, name, confidence, is_ring and len(points) > 3))
    content["features"] = features
    try:
        return write_json(path, content, indent=None)
    except OSError as error:
        raise DataError(path, "map", "a file that can be written", error.strerror or error) from error


def _degrees(places: np.ndarray) -> np.ndarray:
    return np.column_stack([places[:, :2].round(DEGREE_DIGITS), places[:, 2].round(METRE_DIGITS)])


def _feature(places: np.ndarray, name: str, confidence: float, is_ring: bool) -> dict[str, Any]:
    if is_ring and _signed_area(places) < 0:               # outer rings run counter-clockwise (RFC 7946, 3.1.6)
        places = places[::-1]
    shape = {"type": "Polygon", "coordinates": [places.tolist()]} if is_ring else {
        "type": "LineString", "coordinates": places.tolist(),
    }
    return {"type": "Feature", "geometry": shape, "properties": {"class": name, "confidence": round(confidence, 4)}}


def _signed_area(ring: np.ndarray) -> float:
    x, y = (ring[:, axis] - ring[0, axis] for axis in (0, 1))
    return 0.5 * float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())
