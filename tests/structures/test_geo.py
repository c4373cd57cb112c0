"""Predicted places: what they tell, as GeoJSON and as JSON lines."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import Point, shape

from perception.errors import DataError
from perception.geo.s2_cells import leaf_ids, parent_ids, tokens_of
from perception.structures import GeoCell, GeoPrediction
from perception.structures.prediction_lines import prediction_line, read_prediction_lines

LEVELS = (5, 8, 13)
CELLS = np.concatenate([parent_ids(leaf_ids(np.array([(48.14, 11.57)])), level) for level in LEVELS])
TOKENS = tokens_of(CELLS)


def prediction(**changes: object) -> GeoPrediction:
    places = ((48.5, 11.0), (48.2, 11.5), (48.14, 11.57))
    cells = tuple(
        GeoCell(number, probability, latitude, longitude)
        for number, probability, (latitude, longitude) in zip(CELLS.tolist(), (0.9, 0.5, 1.25e-7), places, strict=True)
    )
    options = {"entropy": 1.5, "scene": 1, "scene_names": ("rural", "urban"), **changes}
    return GeoPrediction("frame-1", 12, cells, **options)


def test_the_place_is_that_of_the_finest_cell():
    found = prediction()
    assert (found.latitude, found.longitude, found.probability) == (48.14, 11.57, 1.25e-7)
    assert [cell.token for cell in found.cells] == TOKENS
    assert [cell.level for cell in found.cells] == list(LEVELS)
    assert found.scene_name == "urban"
    assert prediction(scene=-1).scene_name == ""


def test_geojson_has_the_polygon_of_each_cell_and_the_place():
    content = json.loads(json.dumps(prediction().to_geojson(), allow_nan=False))
    *cells, place = content["features"]
    assert content["type"] == "FeatureCollection"
    assert [cell["properties"]["cell"] for cell in cells] == TOKENS
    assert [cell["properties"]["hierarchy"] for cell in cells] == [0, 1, 2]
    assert place["geometry"] == {"type": "Point", "coordinates": [11.57, 48.14]}
    coarse, _, fine = (shape(cell["geometry"]) for cell in cells)
    assert coarse.contains(fine)
    assert coarse.contains(Point(11.57, 48.14))


def test_no_cell_is_no_place():
    with pytest.raises(ValueError, match="cells must be one or more"):
        GeoPrediction("frame-1", 12, ())


@pytest.mark.parametrize("changes", [{}, {"entropy": math.nan, "scene": -1, "scene_names": ()}])
def test_lines_come_back(tmp_path: Path, changes):
    path, written = tmp_path / "places.jsonl", prediction(**changes)
    path.write_text(prediction_line(written) + "\n")
    back = read_prediction_lines(path)["frame-1"]
    assert isinstance(back, GeoPrediction)
    assert back.cells == written.cells
    assert (back.scene, back.scene_names, back.timestamp_ns) == (written.scene, written.scene_names, 12)
    assert back.entropy == pytest.approx(written.entropy, nan_ok=True)


@pytest.mark.parametrize(
    "change",
    [{"cells": []}, {"cells": [{"cell": "zz", "probability": 1, "latitude": 1, "longitude": 2}]}, {"cells": [{}]},
     {"entropy": "low"}, {"cells": None}],
)
def test_a_malformed_line_is_named(tmp_path: Path, change):
    record = json.loads(prediction_line(prediction()))
    record["place"] |= change
    path = tmp_path / "places.jsonl"
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"places\.jsonl:1: place: expected cells with place and probability"):
        read_prediction_lines(path)
