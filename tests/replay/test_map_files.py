"""Maps of drives as files, read back by libraries that are not ours."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import shapely
import torch
from pyproj import Geod

from perception.errors import DataError, MissingExtraError
from perception.replay.map_files import lanelet2_osm
from perception.replay.map_files.geojson import write_geojson
from perception.replay.map_files.lanelet2_osm import long_sides, write_lanelet2
from perception.replay.sinks.global_map import GlobalMapSink, true_map_of
from perception.structures import (
    SE3,
    Boxes3D,
    Frame,
    GeoReference,
    GlobalMap,
    LaneGraph,
    MapPredictions,
    Polylines,
    Predictions,
    VectorMap,
)

MUNICH = GeoReference(48.1, 11.6, 520.0, east=1000.0, north=2000.0)
CROSSING = torch.tensor([[1010.0, 2000], [1010, 2012], [1014, 2012], [1014, 2000], [1010, 2000]], dtype=torch.float64)
DIVIDER = torch.tensor([[1000.0, 2000], [1050, 2000], [1100, 2010]], dtype=torch.float64)


def drive_map(reference: GeoReference | None = None) -> GlobalMap:
    lines = Polylines.from_lines([torch.nn.functional.pad(line, (0, 1), value=3.0) for line in (CROSSING, DIVIDER)])
    labels, confidence = torch.tensor([0, 1]), torch.tensor([0.9, 0.25])
    return GlobalMap(lines, labels, confidence, torch.zeros(1, 3, dtype=torch.float64), geo_reference=reference)


def features_of(path: Path) -> list[dict]:
    return json.loads(path.read_text())["features"]


def test_a_map_of_an_unknown_place_is_metric_and_says_so(tmp_path: Path):
    path = write_geojson(tmp_path / "map.geojson", drive_map())
    content = json.loads(path.read_text())
    assert content["crs"] is None
    assert (content["coordinate_system"]["kind"], content["coordinate_system"]["unit"]) == ("local", "metre")
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in content["features"]]
    assert shapes[0].equals(shapely.Polygon(CROSSING.numpy()))
    assert shapes[1].equals(shapely.LineString(DIVIDER.numpy()))
    assert content["features"][1]["properties"] == {"class": "divider", "confidence": 0.25}


def test_a_map_of_a_known_place_has_degrees(tmp_path: Path):
    path = write_geojson(tmp_path / "map.geojson", drive_map(MUNICH))
    assert "crs" not in json.loads(path.read_text())       # RFC 7946: always WGS84
    line = features_of(path)[1]["geometry"]["coordinates"]
    assert line[0] == [11.6, 48.1, 523.0]
    assert Geod(ellps="WGS84").inv(*line[0][:2], *line[1][:2])[2] == pytest.approx(50.0, abs=2e-3)


@pytest.mark.parametrize("step", [1, -1])
def test_rings_run_counter_clockwise_whichever_way_they_came(tmp_path: Path, step: int):
    ring = torch.nn.functional.pad(CROSSING, (0, 1))
    lines = Polylines.from_lines([ring if step > 0 else ring.flip(0)])
    whole = GlobalMap(lines, torch.tensor([0]), torch.ones(1), torch.zeros(0, 3, dtype=torch.float64))
    written = features_of(write_geojson(tmp_path / "map.geojson", whole))[0]["geometry"]["coordinates"][0]
    assert shapely.LinearRing(written).is_ccw


def test_an_empty_map_is_a_file_too(tmp_path: Path):
    assert features_of(write_geojson(tmp_path / "map.geojson", GlobalMap.empty())) == []


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path):
    (tmp_path / "map.geojson").mkdir()
    with pytest.raises(DataError, match="map: expected a file that can be written"):
        write_geojson(tmp_path / "map.geojson", drive_map())


@pytest.fixture
def lanelet2() -> ModuleType:
    pytest.importorskip("lanelet2.projection")
    import lanelet2

    return lanelet2


def loaded(lanelet2: ModuleType, path: Path, reference: GeoReference):
    origin = lanelet2.io.Origin(reference.latitude, reference.longitude, reference.altitude)
    back, errors = lanelet2.io.loadRobust(str(path), lanelet2.projection.LocalCartesianProjector(origin))
    assert list(errors) == []
    return back


@pytest.mark.parametrize("reference", [None, MUNICH])
def test_lanelet2_reads_its_lines_and_crosswalks_back(lanelet2: ModuleType, tmp_path: Path, reference):
    path = write_lanelet2(tmp_path / "map.osm", drive_map(reference))
    back = loaded(lanelet2, path, reference or GeoReference(0.0, 0.0, 0.0))
    (divider,) = [line for line in back.lineStringLayer if line.attributes["type"] == "line_thin"]
    offset = np.array([MUNICH.east, MUNICH.north]) if reference else np.zeros(2)
    points = np.array([[point.x, point.y] for point in divider])
    np.testing.assert_allclose(points, DIVIDER.numpy() - offset, atol=0.05)    # 520 m above, 2 km off
    (crosswalk,) = back.laneletLayer
    assert crosswalk.attributes["subtype"] == "crosswalk"
    assert float(crosswalk.attributes["confidence"]) == pytest.approx(0.9)
    assert crosswalk.leftBound.attributes["type"] == "pedestrian_marking"


def test_lanes_become_lanelets_that_follow_their_borders(lanelet2: ModuleType, tmp_path: Path):
    x = torch.linspace(0.0, 30.0, 4)
    left, middle, right = (torch.stack([x, torch.full_like(x, y), 0 * x], dim=1)[None] for y in (1.75, 0.0, -1.75))
    lanes = LaneGraph(middle, left, right, torch.tensor([2]), torch.tensor([1]), torch.zeros(1, 1))
    path = write_lanelet2(tmp_path / "map.osm", GlobalMap.empty(), lanes)
    (lane,) = loaded(lanelet2, path, GeoReference(0.0, 0.0, 0.0)).laneletLayer
    assert lane.leftBound.attributes["subtype"] == "dashed"
    assert lane.rightBound.attributes["subtype"] == "solid"
    assert [point.y for point in lane.centerline] == pytest.approx([0.0] * len(lane.centerline), abs=1e-3)


def test_the_file_is_osm_xml_with_places_and_metres(lanelet2: ModuleType, tmp_path: Path):
    root = ElementTree.parse(write_lanelet2(tmp_path / "map.osm", drive_map(MUNICH))).getroot()
    assert root.tag == "osm"
    tags = [{tag.get("k"): tag.get("v") for tag in node.findall("tag")} for node in root.findall("node")]
    assert {"local_x": "1050.000", "local_y": "2000.000", "ele": "3.000"} in tags


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lanelet2_osm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'perception\[lanelet2\]'"):
        write_lanelet2(tmp_path / "map.osm", drive_map())


def test_the_long_sides_of_a_crossing_run_side_by_side():
    sides = long_sides(np.column_stack([CROSSING.numpy(), np.full(5, 3.0)]))
    assert sides is not None
    left, right = sides
    ahead = (left[1] - left[0])[:2]
    np.testing.assert_allclose(ahead, (right[1] - right[0])[:2], atol=1e-9)
    assert np.linalg.norm(ahead) == pytest.approx(12.0)
    aside = (left[0] - right[0])[:2]
    assert ahead[0] * aside[1] - ahead[1] * aside[0] == pytest.approx(48.0)               # left is on the left


def test_an_outline_without_area_has_no_sides():
    assert long_sides(np.zeros((4, 3))) is None


def frame_with_map(number: int, pose: SE3 | None) -> Frame:
    line = torch.tensor([[-20.0, 2.0], [20.0, 2.0]])
    known = VectorMap(Polylines.from_lines([line]), torch.tensor([1]))
    return Frame(f"frame-{number}", number, global_from_ego=pose, wgs84=(48.1, 11.6, 520.0), vector_map=known)


def test_a_drive_is_written_as_one_map(tmp_path: Path):
    with GlobalMapSink(tmp_path) as sink:
        for number in range(5):
            frame = frame_with_map(number, SE3.about_z(0.0, (4.0 * number, 0.0, 0.0)))
            seen = true_map_of(frame)
            assert seen is not None
            sink.write(frame, seen)
    (feature,) = features_of(tmp_path / "map.geojson")
    assert feature["properties"] == {"class": "divider", "confidence": 1.0}
    assert feature["geometry"]["coordinates"][0][:2] == pytest.approx([11.6, 48.1], abs=1e-3)
    assert {path.name for path in sink.paths} >= {"map.geojson", "map.png"}
    assert all(path.is_file() for path in sink.paths)


def test_an_element_that_is_hardly_sure_is_not_written(tmp_path: Path):
    with GlobalMapSink(tmp_path, min_confidence=0.5) as sink:
        frame = frame_with_map(0, SE3.identity())
        seen = true_map_of(frame)
        assert seen is not None
        sink.write(frame, MapPredictions("f", 0, seen.lines, torch.tensor([0.4]), seen.labels))
    assert features_of(tmp_path / "map.geojson") == []


def test_a_frame_without_a_pose_is_named_and_nothing_is_written(tmp_path: Path):
    frame = frame_with_map(3, None)
    seen = true_map_of(frame)
    assert seen is not None
    message = "frame frame-3: global_from_ego: expected a pose"
    with pytest.raises(DataError, match=message), GlobalMapSink(tmp_path) as sink:
        sink.write(frame, seen)
    assert list(tmp_path.iterdir()) == []


def test_boxes_are_no_part_of_a_map(tmp_path: Path):
    none = torch.zeros(0, dtype=torch.int64)
    with GlobalMapSink(tmp_path) as sink:
        sink.write(frame_with_map(0, None), Predictions("f", 0, Boxes3D.empty(7), torch.zeros(0), none, ("car",)))
    assert features_of(tmp_path / "map.geojson") == []


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_confidence_out_of_range_is_refused(tmp_path: Path, value: float):
    with pytest.raises(ValueError, match=r"min_confidence must lie in \[0, 1\]"):
        GlobalMapSink(tmp_path, min_confidence=value)
