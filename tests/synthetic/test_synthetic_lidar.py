"""The spinning LiDAR on a handmade street."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from handmade import box_mesh, car, moved, street_scene

from perception.synthetic.lidar import Beams, Sweep, cast_moving, fire, return_probability, scan
from perception.synthetic.materials import Semantic
from perception.synthetic.raycast import Hits, SceneCaster, shelf_places
from perception.synthetic.rig import Lidar, default_rig
from perception.synthetic.scene import Scene

LIDAR = default_rig(cameras=False).lidar
THREE_SIGMA = 3 * LIDAR.range_noise


def sweep_of(scene: Scene, time: float = 0.5, lidar: Lidar = LIDAR, seed: int = 0) -> Sweep:
    return scan(SceneCaster(scene), lidar, time, np.random.default_rng(seed))


def to_global(sweep: Sweep) -> np.ndarray:
    matrix = sweep.global_from_sensor
    return sweep.points[:, :3].astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def test_points_are_float32_rows_of_x_y_z_intensity_ring():
    sweep = sweep_of(street_scene())
    assert sweep.points.dtype == np.float32
    assert sweep.points.shape[1] == 5
    assert 20_000 < len(sweep.points) <= 32 * 1080
    assert sweep.points[:, 3].min() >= 0
    assert sweep.points[:, 3].max() <= 255
    np.testing.assert_array_equal(np.unique(sweep.points[:, 4]), np.arange(32)[:len(np.unique(sweep.points[:, 4]))])


def test_every_ring_keeps_its_elevation_while_the_car_stands():
    sweep = sweep_of(street_scene(speed=0.0))
    x, y, z = sweep.points[:, :3].astype(np.float64).T
    elevation = np.arctan2(z, np.hypot(x, y))
    ring = sweep.points[:, 4].astype(int)
    np.testing.assert_allclose(elevation, LIDAR.elevations[ring], atol=1e-5)         # points are float32


def test_elevations_run_from_minus_30_67_to_10_67_degrees():
    np.testing.assert_allclose(np.degrees(LIDAR.elevations[[0, -1]]), [-30.67, 10.67], atol=1e-9)


def test_a_wall_to_the_left_lies_at_negative_x_of_the_sensor():
    sweep = sweep_of(street_scene(actors=(), speed=0.0))
    wall = sweep.points[sweep.semantic == Semantic.MANMADE]
    assert len(wall) > 500
    assert (wall[:, 0] < -14.0).all()                   # x points right; the wall's face is 15 m to the left


def test_range_noise_has_the_stated_deviation_and_ends_at_three_of_them():
    scene = street_scene(actors=(), speed=0.0, wall=False)
    sweep = sweep_of(scene)
    slant = np.linalg.norm(sweep.points[:, :3].astype(np.float64), axis=1)
    truth = -1.84023 / np.sin(LIDAR.elevations[sweep.points[:, 4].astype(int)])        # flat ground
    error = slant - truth
    assert abs(error.std() - 0.02) < 0.001
    assert np.abs(error).max() <= THREE_SIGMA + 1e-3


@pytest.mark.parametrize("speed", [0.0, 8.0, 20.0])
def test_the_cars_own_motion_is_compensated(speed):
    sweep = sweep_of(street_scene(actors=(), speed=speed))
    facade = to_global(sweep)[(sweep.semantic == Semantic.MANMADE)]
    np.testing.assert_allclose(facade[:, 1], 113.0, atol=THREE_SIGMA + 1e-3)


def test_a_moving_car_stays_where_the_beam_met_it():
    scene = street_scene(actors=(car(1, 75.0, 102.0, np.pi, 15.0),), speed=10.0)
    sweep = sweep_of(scene)
    own = sweep.instance == 1
    pose = scene.actors[0].trajectory.at(sweep.beam_time[own])
    offset = to_global(sweep)[own] - pose[:, :3]                                    # heading west: both axes turned
    assert own.sum() > 50
    assert (np.abs(offset) <= np.array([4.4, 1.9, 1.6]) / 2 + 1e-4).all()


def test_beams_are_fired_clockwise_over_a_tenth_of_a_second():
    sweep = sweep_of(street_scene(speed=0.0))
    assert (np.diff(sweep.beam_time) >= 0).all()
    assert -0.05 <= sweep.beam_time[0] - sweep.time < sweep.beam_time[-1] - sweep.time <= 0.05
    heading = np.unwrap(np.arctan2(sweep.points[:, 1], sweep.points[:, 0]).astype(np.float64))
    assert heading[0] - heading[-1] == pytest.approx(2 * np.pi, abs=0.05)


def test_the_beam_points_along_a_column_at_the_columns_time():
    times = [LIDAR.time_towards(yaw) for yaw in LIDAR.column_yaws()]
    np.testing.assert_allclose(times, LIDAR.column_times(), atol=1e-12)


def test_what_stands_behind_is_not_met():
    hidden = car(2, 85.0, 98.0, size=(4.0, 1.5, 1.2))
    screen = car(1, 75.0, 98.0, size=(4.0, 2.6, 3.5))
    alone, both = (sweep_of(street_scene(actors=actors, speed=0.0)) for actors in ((hidden,), (screen, hidden)))
    assert (alone.instance == 2).sum() > 10
    assert (both.instance == 2).sum() == 0


def test_culled_rays_give_the_same_hits_as_every_ray_on_every_actor():
    scene = street_scene(actors=(car(1, 62.0, 100.5, 0.4, 12.0), car(2, 61.0, 95.0, 1.0, 5.0), car(3, 90.0, 98.2),
                                 car(4, 40.0, 97.0, 0.1, 20.0), car(5, 92.0, 99.5, 2.0, 3.0)), speed=9.0)
    caster = SceneCaster(scene)
    lidar = replace(LIDAR, columns=360)
    beams = fire(caster, lidar, 0.5)
    fast, slow = cast_moving(caster, lidar, beams, 0.5), _cast_everything(caster, beams)
    np.testing.assert_array_equal(fast.actor, slow.actor)
    np.testing.assert_array_equal(fast.distance, slow.distance)
    assert set(fast.actor) == {-1, 0, 1, 2, 3, 4}


def _cast_everything(caster: SceneCaster, beams: Beams) -> Hits:
    best = Hits.none(len(beams.origins))
    times = np.repeat(beams.times, len(beams.elevations))
    for index, actor in enumerate(caster.scene.actors):
        poses = actor.trajectory.at(times)
        hits = caster.cast_actors(beams.origins, beams.directions, np.full(len(times), index), poses)
        best = best.nearest(hits)
    return best


def test_the_same_generator_gives_the_same_sweep():
    first, again, other = (sweep_of(street_scene(), seed=seed) for seed in (3, 3, 4))
    assert first.points.tobytes() == again.points.tobytes()
    assert first.points.tobytes() != other.points.tobytes()


@pytest.mark.parametrize(("near", "far"), [((20.0, 0.5, 1.0), (60.0, 0.5, 1.0)), ((40.0, 0.5, 1.0), (40.0, 0.05, 1.0)),
                                           ((40.0, 0.2, 1.0), (40.0, 0.2, 0.05))],
                         ids=["distance", "reflectivity", "incidence"])
def test_beams_are_lost_more_often_with(near, far):
    chances = [return_probability(np.array([d]), np.array([r]), np.array([c]), 90.0)[0] for d, r, c in (near, far)]
    assert 0.0 < chances[1] < chances[0] < 1.0


@pytest.mark.parametrize("distance", [0.1, 90.5, np.inf])
def test_nothing_comes_back_from_outside_the_range(distance):
    assert return_probability(np.array([distance]), np.ones(1), np.ones(1), 90.0)[0] == 0.0


def test_paint_is_brighter_than_asphalt():
    scene = street_scene(actors=(), speed=0.0, wall=False)
    dark = sweep_of(scene)
    bright = sweep_of(replace(scene, static=moved(box_mesh((400.0, 400.0, 1.0), Semantic.ROAD, 0.8), (100, 100, -0.5))))
    assert np.median(bright.points[:, 3]) > 3 * np.median(dark.points[:, 3])


def test_a_scene_without_actors_has_only_the_town():
    assert set(sweep_of(street_scene(actors=())).instance) == {0}


def test_shelf_places_stand_apart():
    places = shelf_places(30)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 1e9 * np.eye(30)
    assert apart.min() == 400.0
