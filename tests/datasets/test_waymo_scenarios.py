"""Waymo's HD maps and motion scenarios, on messages that the tests make and on a real one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waymo_messages import frame_message, with_map

from perception.datasets.waymo.frames import frame_of
from perception.datasets.waymo.hd_map import HdMap, hd_map_of
from perception.datasets.waymo.motion import STATE_FIELDS, MotionScenario, read_scenarios, scenario_of
from perception.datasets.waymo.schema import Scenario
from perception.errors import DataError
from perception.structures import SE3


def test_maps_tell_every_kind_of_feature_where_the_frame_has_it():
    hd_map = frame_of(with_map(frame_message()).SerializeToString(), "made").hd_map
    assert hd_map is not None
    assert [feature.id for feature in hd_map] == [1, 2, 3, 4, 5, 6, 7]
    assert len(hd_map) == 7
    (lane,) = hd_map.lanes
    assert (lane.type, lane.speed_limit_mph, lane.entry_lanes, lane.exit_lanes) == (2, 25.0, (), (7, 8))
    assert lane.points.tolist() == [[101.0, 2.0, 3.0], [102.0, 0.0, 0.0]]
    (neighbor,) = lane.left_neighbors
    assert (neighbor.feature_id, neighbor.self_start, neighbor.self_end) == (9, 0, 1)
    assert (neighbor.neighbor_start, neighbor.neighbor_end, neighbor.boundaries[0].type) == (3, 4, 3)
    assert lane.right_boundaries[0].feature_id == 5
    assert hd_map.stop_signs[0].lanes == (1,)
    assert hd_map.stop_signs[0].points.tolist() == [[105.0, 0.0, 0.0]]
    assert hd_map.road_edges[0].points.shape == (0, 3)


def test_maps_are_moved_with_all_their_features():
    hd_map = hd_map_of(with_map(frame_message()).map_features, "made").moved_by(SE3.about_z(math.pi / 2, (0, 0, 1)))
    np.testing.assert_allclose(hd_map.lanes[0].points, [[-2, 1, 4], [0, 2, 1]], atol=1e-12)
    np.testing.assert_allclose(hd_map.stop_signs[0].points, [[0, 5, 1]], atol=1e-12)
    assert len(HdMap().moved_by(SE3.identity())) == 0


def made_scenario() -> Any:
    message = Scenario(scenario_id="s", timestamps_seconds=[0.0, 0.1], current_time_index=1, objects_of_interest=[4])
    for number in (4, 5):
        track = message.tracks.add(id=number, object_type=2)
        track.states.add(center_x=1.0, length=2.0, heading=0.5, velocity_y=3.0, valid=True)
        track.states.add(center_x=9.0)
    message.sdc_track_index = 1
    message.tracks_to_predict.add(track_index=0, difficulty=2)
    light = message.dynamic_map_states.add().lane_states.add(lane=7, state=4)
    light.stop_point.x = 3.0
    message.dynamic_map_states.add()
    return message


def scenario_from(message: Any) -> MotionScenario:
    return scenario_of(message.SerializeToString(), "made")


def test_scenarios_tell_tracks_and_lights_by_time():
    scenario = scenario_from(made_scenario())
    assert scenario.states.shape == (2, 2, len(STATE_FIELDS))
    assert scenario.states[0, 0].tolist() == [1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.5, 0.0, 3.0]
    assert np.isnan(scenario.states[:, 1]).all()
    assert scenario.valid.tolist() == [[True, False]] * 2
    assert (scenario.ego_track, scenario.tracks_to_predict, scenario.objects_of_interest) == (1, ((0, 2),), (4,))
    (light,), at_last = scenario.traffic_lights
    assert (light.lane, light.state, light.stop_point, at_last) == (7, 4, (3.0, 0.0, 0.0), ())


def test_an_empty_scenario_has_no_track():
    scenario = scenario_from(Scenario(scenario_id="s"))
    assert (scenario.states.shape, scenario.valid.shape, len(scenario.hd_map)) == ((0, 0, 9), (0, 0), 0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.tracks[1].states.pop(), "made: track 5: expected 2 states, got 1"),
        (lambda m: setattr(m, "sdc_track_index", 2), r"made: track rows: expected numbers below 2, got \[2, 0\]"),
        (lambda m: setattr(m.tracks_to_predict[0], "track_index", -1), r"expected numbers below 2, got \[1, -1\]"),
    ],
)
def test_malformed_scenarios_are_told(change: Callable[[Any], None], match: str):
    message = made_scenario()
    change(message)
    with pytest.raises(DataError, match=match):
        scenario_from(message)


def test_the_real_scenario_has_its_tracks(shared_data: Path):
    path = shared_data / "waymo/motion/motion_data_one_scenario.tfrecord"
    if not path.is_file():
        pytest.skip(f"no {path}")
    (scenario,) = read_scenarios(path)
    assert scenario.states.shape == (83, 91, 9)
    ego = scenario.states[scenario.ego_track]
    assert scenario.valid[scenario.ego_track].all()
    steps = np.diff(ego[:, :2], axis=0) / np.diff(scenario.times_s)[:, None]
    np.testing.assert_allclose(steps, ego[:-1, 7:], atol=0.5)                      # [m/s]
    kinds = (scenario.hd_map.lanes, scenario.hd_map.road_lines, scenario.hd_map.road_edges, scenario.hd_map.stop_signs)
    assert [len(kind) for kind in kinds] == [199, 59, 28, 8]
    assert (len(scenario.hd_map.crosswalks), len(scenario.hd_map.speed_bumps)) == (4, 3)
