"""Annotation of a keyframe: point counts, visibility and the time of a box."""

from __future__ import annotations

import numpy as np
import pytest
from handmade import car, street_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from nuscenes.utils.data_classes import Box
from nuscenes.utils.geometry_utils import points_in_box as official_points_in_box
from pyquaternion import Quaternion

from perception.synthetic.labels import Annotation, annotate, points_in_box, visible_shares
from perception.synthetic.lidar import scan
from perception.synthetic.raycast import SceneCaster
from perception.synthetic.rig import default_rig
from perception.synthetic.scene import Scene
from perception.synthetic.taxonomy import CATEGORIES, DETECTION_CLASSES, visibility_token

LIDAR = default_rig(cameras=False).lidar


def annotations_of(scene: Scene, time: float = 0.45) -> dict[int, Annotation]:
    caster = SceneCaster(scene)
    sweep = scan(caster, LIDAR, time, np.random.default_rng(0))
    found = annotate(caster, LIDAR, sweep, np.zeros(3))
    return {scene.actors[item.actor].instance: item for item in found}


def shares(scene: Scene, eye: tuple[float, float, float]) -> np.ndarray:
    snapshot = SceneCaster(scene).snapshot(0.0, np.array(eye))
    return visible_shares(snapshot, np.array(eye), np.arange(len(scene.actors)))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), yaw=st.floats(-3.2, 3.2))
def test_points_in_a_box_are_those_of_the_official_devkit(seed, yaw):
    rng = np.random.default_rng(seed)
    points, centre, size = rng.normal(0, 3, (200, 3)), rng.normal(0, 1, 3), tuple(rng.uniform(0.5, 6, 3))
    box = Box(centre, [size[1], size[0], size[2]], Quaternion(axis=[0, 0, 1], radians=yaw))
    ours = points_in_box(points, np.array([*centre, yaw]), size)
    np.testing.assert_array_equal(ours, official_points_in_box(box, points.T))


def test_a_free_standing_car_is_wholly_visible_and_one_behind_a_wall_not_at_all():
    scene = street_scene(actors=(car(1, 75.0, 98.0), car(2, 75.0, 125.0)))
    np.testing.assert_array_equal(shares(scene, (60.0, 98.0, 1.84)), [1.0, 0.0])


def test_a_screen_before_half_of_a_bus_leaves_half():
    bus = car(1, 80.0, 98.0, size=(2.0, 8.0, 3.0))
    screen = car(2, 78.0, 102.0, size=(0.5, 8.14, 6.0))                   # hides what lies left of y = 98
    assert shares(street_scene(actors=(bus, screen)), (60.0, 98.0, 1.5))[0] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("fraction", "token"),
                         [(0.0, "1"), (0.39, "1"), (0.4, "2"), (0.6, "3"), (0.8, "4"), (1.0, "4")])
def test_visibility_levels_begin_at_40_60_and_80_percent(fraction, token):
    assert visibility_token(fraction) == token


@pytest.mark.parametrize("speed", [0.0, 10.0, 20.0])
@pytest.mark.parametrize("y", [94.0, 102.0])
def test_a_box_stands_where_the_beam_met_the_car(speed, y):
    scene = street_scene(actors=(car(1, 70.0, y, 0.0, speed),), speed=5.0)
    caster = SceneCaster(scene)
    sweep = scan(caster, LIDAR, 0.45, np.random.default_rng(0))
    annotation = annotate(caster, LIDAR, sweep, np.zeros(3))[0]
    own = sweep.beam_time[sweep.instance == 1]
    assert own.min() <= annotation.time <= own.max()
    assert annotation.num_returns >= 0.97 * len(own)


def test_a_car_across_the_seam_is_annotated_where_most_of_it_was_met():
    seam = np.array([60.9, 98.0]) + 12.0 * np.array([np.cos(LIDAR.seam_yaw), np.sin(LIDAR.seam_yaw)])
    for shift in (-1.0, 1.0):                                   # a little to either side of the seam
        scene = street_scene(actors=(car(1, seam[0] + shift, seam[1], 0.0, 20.0),), speed=0.0, wall=False)
        caster = SceneCaster(scene)
        sweep = scan(caster, LIDAR, 0.05, np.random.default_rng(0))
        annotation = annotate(caster, LIDAR, sweep, np.zeros(3))[0]
        assert annotation.num_returns > 0.5 * (sweep.instance == 1).sum()


def test_far_or_hidden_things_without_a_return_are_left_out():
    scene = street_scene(actors=(car(1, 75.0, 98.0), car(2, 75.0, 125.0), car(3, 190.0, 98.0)), speed=0.0)
    assert set(annotations_of(scene)) == {1}


def test_a_scene_without_actors_has_no_annotations():
    assert annotations_of(street_scene(actors=())) == {}


def test_categories_are_the_32_of_lidarseg_and_cover_the_ten_classes():
    assert len(CATEGORIES) == 32
    assert CATEGORIES[17] == "vehicle.car"
    assert {category for members in DETECTION_CLASSES.values() for category in members} <= set(CATEGORIES)
