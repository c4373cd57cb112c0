"""The tile of the SD map is chosen by a coarse place on Earth."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.datasets.maps.map_tiles import MapTiles
from perception.errors import DataError
from perception.geo import NO_CELL
from perception.geo.s2_cells import leaf_ids, parent_ids
from perception.registry import TRANSFORMS
from perception.structures import SE3, Frame, GeoCell, GeoLabel, GeoPrediction
from perception.structures.prediction_lines import prediction_line
from perception.transforms.map_tile_prior import MapTilePrior

PLACES = {"munich": (48.1, 11.6), "fiji": (-17.0, 180.0), "pole": (-80.0, 0.0)}    # middles of squares of 0.01 degrees
ROADS = {"munich": 10.0, "fiji": 20.0, "pole": 5000.0}                             # y of a road along x [m]
RNG = np.random.default_rng(0)


def square(latitude: float, longitude: float) -> list[list[float]]:
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    return [[longitude + 0.005 * x, latitude + 0.005 * y] for x, y in corners]


def feature(name: str) -> dict:
    return {"type": "Feature", "properties": {"name": name, "file": f"{name}.json"},
            "geometry": {"type": "Polygon", "coordinates": [square(*PLACES[name])]}}


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    for name, y in ROADS.items():
        line = {"type": "Feature", "properties": {"category": "road", "lanes": 2},
                "geometry": {"type": "LineString", "coordinates": [[0.0, y], [100.0, y]]}}
        (tmp_path / f"{name}.json").write_text(json.dumps({"type": "FeatureCollection", "features": [line]}))
    path = tmp_path / "tiles.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature(name) for name in PLACES]}))
    return path


def frame(place: tuple[float, float] | None = None, token: str = "f") -> Frame:
    """At x = 50 m, looking along y."""
    pose = SE3.about_z(np.pi / 2, [50.0, 0.0, 0.0])
    return Frame(token, 0, global_from_ego=pose, wgs84=None if place is None else (*place, 0.0))


def told(place: tuple[float, float], token: str = "f", probability: float = 0.5) -> GeoPrediction:
    cell = int(parent_ids(leaf_ids(np.array([place])), 16)[0])
    return GeoPrediction(token, 0, (GeoCell(cell, probability, *place),))


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ((48.1, 11.6), "munich"), ((48.104, 11.596), "munich"), ((48.1, 11.6053), "munich"),
        ((48.1051, 11.6), "munich"), ((-17.0, 179.998), "fiji"), ((-17.0, -179.998), "fiji"), ((-80.0, 0.0), "pole"),
    ],
)
def test_a_place_chooses_the_tile_that_holds_it_or_the_nearest_one(tiles, place, name):
    assert MapTiles(tiles).find(*place, max_distance_m=30.0).name == name


def test_distances_are_those_to_the_outline(tiles):
    munich = MapTiles(tiles).tiles[0]
    assert munich.distance_km(48.1, 11.6) == 0.0
    assert munich.distance_km(48.106, 11.6) == pytest.approx(0.1112, rel=1e-3)       # a thousandth of a degree north
    assert munich.distance_km(48.1, 11.606) == pytest.approx(0.1112 * np.cos(np.radians(48.1)), rel=1e-3)
    assert munich.distance_km(-48.1, -168.4) == pytest.approx(20015.0, rel=1e-3)     # half round the Earth


def test_a_place_too_far_from_all_tiles_is_told(tiles):
    with pytest.raises(DataError, match=r"one within 100 m of 48\.106.*, got munich as the nearest, 0\.111 km away"):
        MapTiles(tiles).find(48.106, 11.6, 100.0)
    with pytest.raises(ValueError, match="latitude"):
        MapTiles(tiles).find(100.0, 11.6, 100.0)


def test_the_true_place_brings_the_map_of_its_tile_around_the_pose(tiles):
    prior = MapTilePrior(tiles, region=(-50.0, -30.0, 50.0, 30.0))
    munich, fiji, pole = (prior(frame(place), RNG).sd_map for place in PLACES.values())
    torch.testing.assert_close(munich.lines.vertices, torch.tensor([[10.0, 30.0], [10.0, -30.0]]))
    torch.testing.assert_close(fiji.lines.vertices, torch.tensor([[20.0, 30.0], [20.0, -30.0]]))
    assert len(pole) == 0                                                            # its road is far from the pose
    assert munich.lanes.tolist() == [2]


def test_the_predicted_place_goes_before_the_true_one(tiles, tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text(prediction_line(told(PLACES["fiji"])) + "\n")
    prior = TRANSFORMS.build({"type": "MapTilePrior", "tiles": str(tiles), "predictions": str(path)})
    assert prior.tile_of(frame(PLACES["munich"])).name == "fiji"
    found = pickle.loads(pickle.dumps(prior))(frame(PLACES["munich"]), RNG).sd_map
    assert found.lines.vertices[:, 0].tolist() == pytest.approx([20.0, 20.0], abs=1e-4)
    assert "predictions.jsonl" in repr(prior)


def test_of_the_pictures_of_a_frame_the_surest_one_counts(tiles):
    pictures = [told(PLACES["munich"], "f/CAM_FRONT", 0.3), told(PLACES["fiji"], "f/CAM_BACK", 0.6)]
    for order in (pictures, pictures[::-1]):
        prior = MapTilePrior(tiles, predictions={one.token: one for one in order})
        assert prior.tile_of(frame()).name == "fiji"
        assert prior.tile_of(frame(token="f/CAM_FRONT")).name == "munich"


def test_known_cells_tell_the_place_where_wgs84_does_not(tiles):
    cells = parent_ids(leaf_ids(np.array([PLACES["munich"]] * 2)), 12).tolist()
    located = replace(frame(), geo_label=GeoLabel((cells[0], 0)))                   # none of the finest hierarchy
    assert MapTilePrior(tiles, max_distance_m=3000.0).tile_of(located).name == "munich"


def test_errors_of_the_map_are_those_asked_for(tiles):
    prior = MapTilePrior(tiles, errors={"sigma_m": 0.0, "drop": 1.0})
    assert len(prior(frame(PLACES["munich"]), RNG).sd_map) == 0


def test_frames_that_tell_no_tile_are_refused(tiles):
    prior = MapTilePrior(tiles)
    with pytest.raises(ValueError, match="frame f has neither wgs84 nor cells"):
        prior(frame(), RNG)
    with pytest.raises(ValueError, match="frame f has neither wgs84 nor cells"):
        prior(replace(frame(), geo_label=GeoLabel((NO_CELL + 1,))), RNG)
    with pytest.raises(ValueError, match="frame f has no pose"):
        prior(replace(frame(PLACES["munich"]), global_from_ego=None), RNG)
    with pytest.raises(DataError, match="given: token: expected a place for frame f, got none"):
        MapTilePrior(tiles, predictions={})(frame(PLACES["munich"]), RNG)
    with pytest.raises(ValueError, match="max_distance_m must be >= 0, got -1"):
        MapTilePrior(tiles, max_distance_m=-1.0)


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ([], "features: expected a GeoJSON FeatureCollection of one tile or more"),
        ([{"properties": {}, "geometry": None}], r"features\[0\]: expected a polygon with a file"),
        ([{**feature("munich"), "properties": {}}], r"features\[0\]: expected a polygon with a file, got KeyError"),
        ([{**feature("munich"), "geometry": {"type": "Point", "coordinates": [1, 2]}}],
         r"features\[0\]: expected a valid polygon, got Point"),
        ([feature("munich"), feature("munich")], r"features\[1\]: expected tiles of different names, got munich"),
    ],
)
def test_an_index_that_is_none_is_told(tmp_path, features, told):
    (tmp_path / "tiles.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with pytest.raises(DataError, match=told):
        MapTiles(tmp_path / "tiles.geojson")


def test_an_absent_map_is_told_when_it_is_asked_for(tiles):
    tiles.with_name("munich.json").unlink()
    with pytest.raises(DataError, match=r"munich\.json: file: expected a readable file"):
        MapTilePrior(tiles)(frame(PLACES["munich"]), RNG)
