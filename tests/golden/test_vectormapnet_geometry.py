"""Ground-truth polylines of VectorMapNet against those that the reference recipe gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely import LineString, MultiLineString, MultiPolygon, Polygon

from perception.datasets.maps.map_elements import MapLayers, geometry_array, map_elements
from perception.datasets.maps.window import MapWindow

LABEL_OF_LAYER = {"ped_crossing": 0, "lane_divider": 1, "road_divider": 1, "contours": 2}
MARGIN = 2.0                                          # the sheet divides by the region plus 2 m


@pytest.mark.golden_files("vectormapnet", pattern="target_geometry*.json")
def test_map_elements_equal_the_reference(golden_file: Path):
    case = json.loads(golden_file.read_text(encoding="utf-8"))
    window = MapWindow(tuple(case["patch"]), inset=case["shrink_m"], tolerance=case["simplify_m"])
    low, high = np.reshape(window.region, (2, 2))

    elements = map_elements(layers_of(case["input"]), window)

    assert len(elements) == len(case["expected"])
    for wanted in case["expected"]:
        assert wanted["label"] == LABEL_OF_LAYER[wanted["layer"]]
        points = np.array(wanted["points_m"])
        line = take(elements, wanted["label"], points)
        scaled = (line - low) / (high - low + MARGIN)
        np.testing.assert_allclose(scaled, wanted["points_normalised"], atol=1e-6, rtol=0)


def layers_of(case: dict[str, Any]) -> MapLayers:
    """The layers of a file: each record is a list of polygons or of lines. An unknown layer fails."""
    unknown = set(case) - {"road_segment", "lane", "ped_crossing", "lane_divider", "road_divider"}
    assert not unknown, f"unknown layers {unknown}"
    areas = {
        name: [MultiPolygon([Polygon(part["exterior"], part["interiors"]) for part in record]) for record in records]
        for name, records in case.items() if not name.endswith("divider")
    }
    lines = [
        MultiLineString([LineString(part) for part in record])
        for name in ("road_divider", "lane_divider") for record in divider_records(case.get(name, []))
    ]
    return MapLayers(
        dividers=geometry_array(lines),
        areas=geometry_array([*areas.get("road_segment", []), *areas.get("lane", [])]),
        crossings=geometry_array(areas.get("ped_crossing", [])),
    )


def divider_records(records: list[Any]) -> list[list[Any]]:
    """Each record as a list of lines; a record that is one line is given as its points."""
    return [[record] if np.ndim(record[0]) == 1 else record for record in records]


def take(elements: list[tuple[int, np.ndarray]], label: int, points: np.ndarray) -> np.ndarray:
    """Remove the element that equals these points (1e-6 m) and return it; a ring may begin at another vertex."""
    for place, (got, line) in enumerate(elements):
        if got != label or line.shape != points.shape:
            continue
        for turned in turns(line):
            if np.abs(turned - points).max() < 1e-6:
                del elements[place]
                return turned
    raise AssertionError(f"no element of label {label} equals {points.tolist()}; there are {elements}")


def turns(line: np.ndarray) -> list[np.ndarray]:
    """A line, and if it is closed the same ring from each of its vertices."""
    if not np.array_equal(line[0], line[-1]):
        return [line]
    rings = [np.roll(line[:-1], -start, axis=0) for start in range(len(line) - 1)]
    return [np.concatenate([ring, ring[:1]]) for ring in rings]
