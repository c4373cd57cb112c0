"""Maps of nuScenes roots: judged by the devkit's own queries; what is absent or broken is named."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from nuscenes.map_expansion.map_api import NuScenesMap
from torch.utils.data import DataLoader

from perception.datasets.maps.map_elements import MapLayers, geometry_array, map_elements
from perception.datasets.maps.nuscenes_map import read_nuscenes_map
from perception.datasets.maps.window import MapWindow
from perception.datasets.nuscenes import NuScenesDataset
from perception.datasets.nuscenes_index import build_nuscenes_index
from perception.errors import ConfigError, DataError
from perception.replay.source import open_source
from perception.structures import SE3

WINDOW = MapWindow((-30, -15, 30, 15))
PLACE = (1200.0, 900.0)                              # near the vehicle of `mini_nuscenes`


CORNERS = {
    "road": [(-100, -4), (100, -4), (100, 4), (-100, 4)],
    "crossing": [(9, -4), (12, -4), (12, 4), (9, 4)],
    "middle": [(-100, 0), (100, 0)],
}


def nodes(shift: float = 0.0, **moved: tuple[float, float]) -> list[dict]:
    """The corners, named road0, road1, ..., all shifted to the north and some moved to another place."""
    east, north = PLACE
    places = {f"{name}{place}": corner for name, corners in CORNERS.items() for place, corner in enumerate(corners)}
    return [{"token": token, "x": east + x, "y": north + y + shift} for token, (x, y) in (places | moved).items()]


def write_map(root: Path, **changes) -> Path:
    """A town with one road of 200 m to the east, a divider in its middle and a crossing."""
    tokens = {name: [f"{name}{place}" for place in range(len(corners))] for name, corners in CORNERS.items()}
    layers = ("drivable_area", "road_block", "lane", "walkway", "stop_line", "carpark_area", "lane_divider",
              "traffic_light", "lane_connector")
    content = {name: [] for name in layers} | {
        "version": "1.3", "canvas_edge": [3000, 2000], "arcline_path_3": {}, "connectivity": {},
        "node": nodes(),
        "polygon": [{"token": name, "exterior_node_tokens": tokens[name], "holes": []}
                    for name in ("road", "crossing")],
        "line": [{"token": "middle", "node_tokens": tokens["middle"]}],
        "road_segment": [{"token": "a", "polygon_token": "road"}],
        "ped_crossing": [{"token": "b", "polygon_token": "crossing"}],
        "road_divider": [{"token": "c", "line_token": "middle"}],
    }
    path = root / "maps/expansion/boston-seaport.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | changes))
    return path


def open_mini(root: Path, **options) -> NuScenesDataset:
    build_nuscenes_index(root, "v1.0-mini", "mini_train")
    return NuScenesDataset(root, version="v1.0-mini", split="mini_train", num_sweeps=0, **options)


@pytest.mark.parametrize("turn", [0.0, 0.4, -0.3])
def test_a_local_map_equals_that_of_the_devkits_patch_queries(shared_data, turn, tmp_path):
    root = shared_data / "nuscenes/devkit_root"
    index = build_nuscenes_index(root, "v1.0-mini", "all", tmp_path / "index.parquet")
    dataset = NuScenesDataset(root, version="v1.0-mini", split="all", index=index, num_sweeps=0, map=vars(WINDOW))
    pose = dataset.load(0).global_from_ego @ SE3.about_z(turn)

    names = ["road_segment", "lane", "ped_crossing", "road_divider", "lane_divider"]
    x, y, _ = pose.translation.tolist()
    patches = dict(NuScenesMap(str(root), "singapore-onenorth").get_map_geom(
        (x, y, 30.0, 60.0), np.degrees(pose.yaw), names
    ))
    by_devkit = MapLayers(
        geometry_array([*patches["road_divider"], *patches["lane_divider"]]),
        geometry_array([*patches["road_segment"], *patches["lane"]]),
        geometry_array(patches["ped_crossing"]),
    )
    wanted, found = map_elements(by_devkit, WINDOW), dataset.local_map(dataset.record(0), pose)

    assert found.labels.tolist() == [label for label, _ in wanted]
    assert set(found.labels.tolist()) == {0, 1, 2}
    for line, (_, vertices) in zip(found.lines, wanted, strict=True):
        # the devkit turns by degrees and cuts before it turns
        assert shapely.hausdorff_distance(shapely.LineString(line.numpy()), shapely.LineString(vertices)) < 1e-4


def test_frames_carry_the_map_in_their_own_frame(mini_nuscenes):
    root = mini_nuscenes.write()
    write_map(root)
    frame = open_mini(root, map={"region": (-30, -15, 30, 15)}).load(1)
    assert frame.vector_map.names() == ["ped_crossing", "divider", "boundary", "boundary"]
    flat = SE3.about_z(frame.global_from_ego.yaw, [*frame.global_from_ego.translation[:2].tolist(), 0.0])
    world = frame.vector_map.lines.moved_by(flat)
    middle = world.vertices[frame.vector_map.labels[world.line_of_vertex()] == 1]
    torch.testing.assert_close(middle[:, 1], torch.full((2,), PLACE[1]), atol=1e-3, rtol=0)   # float32 at 900 m


def test_replayed_sweeps_between_keyframes_have_the_map_at_their_own_pose(mini_nuscenes):
    root = mini_nuscenes.write()
    write_map(root)
    frames = list(open_source(root, map_region=(-30.0, -15.0, 30.0, 15.0)))
    assert len(frames) == 5
    for frame in frames:
        flat = SE3.about_z(frame.global_from_ego.yaw, [*frame.global_from_ego.translation[:2].tolist(), 0.0])
        [divider] = frame.vector_map[frame.vector_map.labels == 1].lines.moved_by(flat)
        torch.testing.assert_close(divider[:, 1], torch.full((2,), PLACE[1]), atol=1e-3, rtol=0)   # float32 at 900 m


def test_a_frame_has_no_map_unless_it_is_asked_for(mini_nuscenes):
    assert open_mini(mini_nuscenes.write()).load(0).vector_map is None


def test_a_frame_far_from_any_road_has_an_empty_map(mini_nuscenes):
    root = mini_nuscenes.write()
    write_map(root, node=nodes(shift=500.0))
    assert len(open_mini(root, map={"region": (-30, -15, 30, 15)}).load(0).vector_map) == 0


def test_a_pickled_dataset_and_its_workers_read_the_same_map(mini_nuscenes):
    root = mini_nuscenes.write()
    write_map(root)
    dataset = open_mini(root, map={"region": (-30, -15, 30, 15)})
    wanted = dataset.load(0).vector_map.lines.vertices
    assert torch.equal(pickle.loads(pickle.dumps(dataset)).load(0).vector_map.lines.vertices, wanted)
    frames = DataLoader(dataset, batch_size=1, num_workers=1, collate_fn=lambda batch: batch[0])
    assert torch.equal(next(iter(frames)).vector_map.lines.vertices, wanted)


def test_a_map_expansion_that_is_not_there_is_named(mini_nuscenes):
    dataset = open_mini(mini_nuscenes.write(), map={"region": (-30, -15, 30, 15)})
    with pytest.raises(DataError, match=r"boston-seaport\.json: map expansion: expected the vector map of a town"):
        dataset.load(0)


@pytest.mark.parametrize(("changes", "message"), [
    ({"version": "1.2"}, r"layers: expected a map of version 1.3 .*outdated map version"),
    ({"lane": None}, "layers: expected a map of version 1.3"),
    ({"node": []}, r"layers: expected a map of version 1.3 .*KeyError"),
    ({"lane": [{"token": "d", "polygon_token": "nowhere"}]}, r"layers: .*KeyError\('nowhere'\)"),
    ({"node": nodes(road1=(float("nan"), 0.0))}, "areas: expected finite coordinates, got NaN or infinity"),
])
def test_a_broken_map_expansion_is_refused(tmp_path, changes, message):
    path = write_map(tmp_path, **changes)
    with pytest.raises(DataError, match=message) as caught:
        read_nuscenes_map(tmp_path, "boston-seaport")
    assert caught.value.path == str(path)


def test_a_map_that_is_no_json_or_of_an_unknown_town_is_refused(tmp_path):
    path = write_map(tmp_path)
    shutil.copy(path, path.with_name("atlantis.json"))
    with pytest.raises(DataError, match=r"atlantis.json: layers: .*Unknown map name atlantis"):
        read_nuscenes_map(tmp_path, "atlantis")
    path.write_text("{")
    with pytest.raises(DataError, match=r"boston-seaport.json: layers: .*JSONDecodeError"):
        read_nuscenes_map(tmp_path, "boston-seaport")


@pytest.mark.parametrize(("table", "change", "message"), [
    ("scene", {"log_token": "other"}, "scene.json: log_token: expected a token of log.json, got other"),
    ("scene", {"name": "scene-0001"}, 'scene.json: name: expected the scene "scene-0061", got 1 other scenes'),
])
def test_tables_that_do_not_lead_to_a_town_are_refused(mini_nuscenes, table, change, message):
    root = mini_nuscenes.write()
    dataset = open_mini(root, map={"region": (-30, -15, 30, 15)})
    rows = json.loads((root / f"v1.0-mini/{table}.json").read_text())
    (root / f"v1.0-mini/{table}.json").write_text(json.dumps([rows[0] | change]))
    with pytest.raises(DataError, match=message):
        dataset.load(0)


def test_an_unknown_option_of_the_map_is_refused_on_opening(mini_nuscenes):
    with pytest.raises(ConfigError, match=r'no option "regin" \(did you mean "region"\?\)'):
        open_mini(mini_nuscenes.write(), map={"regin": (-30, -15, 30, 15)})


def test_reading_a_map_leaves_the_style_of_pictures_alone(tmp_path):
    write_map(tmp_path)
    code = (
        "import sys, matplotlib; from pathlib import Path; before = dict(matplotlib.rcParams);"
        "from perception.datasets.maps.nuscenes_map import read_nuscenes_map;"
        "read_nuscenes_map(Path(sys.argv[1]), 'boston-seaport');"
        "print([name for name, value in before.items() if matplotlib.rcParams[name] != value])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
