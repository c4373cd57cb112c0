"""A nuScenes frame comes with the lane graph and the SD map around it, if they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perception.datasets.maps.nuscenes_lane_graphs import NuScenesLaneGraphs
from perception.datasets.maps.sd_maps import SDMaps
from perception.datasets.nuscenes import NuScenesDataset
from perception.datasets.nuscenes_index import build_nuscenes_index
from perception.errors import DataError
from perception.synthetic.generate import generate_city

REGION = (-50.0, -25.0, 50.0, 25.0)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("city") / "root"
    generate_city(root, 1, 0, duration_s=0.5, cameras="none", columns=60, workers=1)
    build_nuscenes_index(root, "v1.0-trainval", "train")
    return root


def test_maps_are_those_of_the_providers_at_the_pose_of_the_frame(city: Path) -> None:
    dataset = NuScenesDataset(city, num_sweeps=0, lane_graph={"region": REGION}, sd_map={"region": REGION})
    frame = dataset[0]
    lanes = NuScenesLaneGraphs(city, region=REGION).local(frame.scene, frame.global_from_ego)
    roads = SDMaps(city, region=REGION).local(frame.scene, frame.global_from_ego)
    assert len(lanes) > 0
    assert torch.equal(frame.lane_graph.centers, lanes.centers)
    assert torch.equal(frame.sd_map.lines.vertices, roads.lines.vertices)


def test_a_frame_has_no_map_that_was_not_asked_for(city: Path) -> None:
    frame = NuScenesDataset(city, num_sweeps=0)[0]
    assert (frame.vector_map, frame.lane_graph, frame.sd_map) == (None, None, None)


def test_a_root_without_sd_maps_is_refused(city: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for entry in city.iterdir():
        if entry.name != "maps":
            (bare / entry.name).symlink_to(entry)
    with pytest.raises(DataError, match="sd_map: folder: expected SD maps"):
        NuScenesDataset(bare, num_sweeps=0, sd_map={})
