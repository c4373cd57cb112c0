"""Whole scenes: the same seed, the same bytes; every class; nobody touches anybody."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import numpy as np
import pytest

from perception.synthetic.ribbon import rectangle_corners, rectangles_overlap
from perception.synthetic.scene import Actor, Scene
from perception.synthetic.world import CANVAS, build_scene, num_slots

SCENES = ((0, "boulevard"), (1, "grid"), (2, "old_town"), (8, "ring"), (4, "suburb"), (6, "grid"))
CLASSES = {
    "vehicle.car", "vehicle.truck", "vehicle.bus", "vehicle.trailer", "vehicle.construction", "human.pedestrian",
    "vehicle.motorcycle", "vehicle.bicycle", "movable_object.barrier", "movable_object.trafficcone",
}
every_scene = pytest.mark.parametrize(("seed", "layout"), SCENES)


@lru_cache(maxsize=len(SCENES))
def scene_of(seed: int, layout: str, duration_s: float = 10.0) -> Scene:
    location = "boston-seaport" if seed % 2 == 0 else "singapore-onenorth"
    return build_scene("scene-0001", location, seed, duration_s, layout)


def digest(scene: Scene) -> str:
    total = hashlib.sha256()
    for mesh in (scene.static, *(actor.mesh for actor in scene.actors)):
        for values in (mesh.vertices, mesh.triangles, mesh.colors, mesh.semantic, mesh.reflectivity, mesh.texture):
            total.update(np.ascontiguousarray(values).tobytes())
    for path in (scene.ego, *(actor.trajectory for actor in scene.actors)):
        total.update(path.times.tobytes() + path.poses.tobytes())
    for lane in scene.town.lanes.values():
        total.update(lane.centerline.tobytes() + repr(lane.successors).encode())
    for area in (*scene.town.drivable, *scene.town.crossings, *scene.town.walkways):
        total.update(area.exterior.tobytes())
    return total.hexdigest()


def footprints(actor: Actor, times: np.ndarray) -> np.ndarray:
    return rectangle_corners(actor.trajectory.at(times)[:, [0, 1, 3]], np.array(actor.size[:2]))   # (T, 4, 2)


def test_the_same_seed_gives_the_same_bytes():
    first, second = (build_scene("a", "boston-seaport", 3, 2.0, density=0.4) for _ in range(2))
    assert digest(first) == digest(second)


def test_another_seed_gives_another_scene():
    first, second = (build_scene("a", "boston-seaport", seed, 2.0, "grid", 0.4, slot=0) for seed in (5, 6))
    assert digest(first) != digest(second)


@every_scene
def test_every_scene_has_all_ten_classes(seed, layout):
    categories = {actor.category for actor in scene_of(seed, layout).actors}
    missing = {name for name in CLASSES if not any(category.startswith(name) for category in categories)}
    assert not missing


@every_scene
def test_every_class_comes_near_the_ego(seed, layout):
    scene = scene_of(seed, layout)
    times = np.arange(0.0, 10.0, 0.5)
    ego = scene.ego.at(times)[:, :2]
    reach = {"movable_object": 30.0, "human": 40.0, "vehicle.bicycle": 40.0, "vehicle.motorcycle": 40.0}
    for name in CLASSES:
        limit = next((reach[prefix] for prefix in reach if name.startswith(prefix)), 50.0)
        near = [
            (np.linalg.norm(actor.trajectory.at(times)[:, :2] - ego, axis=1) < limit).sum()
            for actor in scene.actors if actor.category.startswith(name)
        ]
        assert sum(near) >= 10, name                         # boxes of the twenty keyframes


@every_scene
def test_no_two_actors_overlap_at_any_keyframe(seed, layout):
    scene = scene_of(seed, layout)
    boxes = np.stack([footprints(actor, np.arange(0.0, 10.0, 0.5)) for actor in scene.actors])      # (A, T, 4, 2)
    first, second = np.triu_indices(len(boxes), k=1)
    for a, b in zip(np.array_split(first, 8), np.array_split(second, 8), strict=True):
        assert not rectangles_overlap(boxes[a], boxes[b]).any()


@every_scene
def test_nobody_hits_the_ego(seed, layout):
    scene = scene_of(seed, layout)
    times = np.arange(0.0, 10.0, 0.1)
    ego = scene.ego.at(times)[:, [0, 1, 3]]
    ego[:, :2] += 1.3 * np.stack([np.cos(ego[:, 2]), np.sin(ego[:, 2])], axis=-1)    # rear axle to box centre
    corners = rectangle_corners(ego, np.array([4.1, 1.75]))
    assert not any(rectangles_overlap(footprints(actor, times), corners).any() for actor in scene.actors)


@every_scene
def test_what_moves_heads_where_it_goes(seed, layout):
    scene = scene_of(seed, layout)
    for actor in scene.actors:
        poses = actor.trajectory.poses
        velocity = np.gradient(poses[:, :2], 0.1, axis=0) if len(poses) > 1 else np.zeros((1, 2))
        fast = np.linalg.norm(velocity, axis=1) > 1.0
        heading = np.arctan2(velocity[fast, 1], velocity[fast, 0])
        off = np.abs((heading - poses[fast, 3] + np.pi) % (2 * np.pi) - np.pi)
        assert (off < 0.12).all(), (actor.category, off.max())       # the curves have knots every half metre


@every_scene
def test_accelerations_are_those_of_vehicles(seed, layout):
    scene = scene_of(seed, layout)
    for actor in scene.actors:
        if actor.category.startswith("vehicle") and len(actor.trajectory.times) > 1:
            speed = np.linalg.norm(np.diff(actor.trajectory.poses[:, :2], axis=0), axis=1) / 0.1
            assert np.abs(np.diff(speed)).max() / 0.1 < 9.0, actor.category


@every_scene
def test_meshes_fill_their_boxes_and_stay_inside(seed, layout):
    for actor in scene_of(seed, layout).actors:
        reach = np.abs(actor.mesh.vertices).max(axis=0)
        gap = np.array(actor.size) / 2 - reach
        assert (gap > [0.055, 0.055, 0.025]).all(), (actor.category, gap)
        assert (gap < 0.1).all(), (actor.category, gap)


@every_scene
def test_the_ego_drives_through_town_at_five_to_nine_metres_a_second_on_the_whole(seed, layout):
    ego = scene_of(seed, layout).ego
    speed = np.linalg.norm(np.diff(ego.poses[:, :2], axis=0), axis=1) / 0.1
    assert 4.0 < speed.mean() <= 9.0
    assert speed.max() < 9.5


@every_scene
def test_attributes_follow_the_speed(seed, layout):
    allowed = {"vehicle.moving", "vehicle.stopped", "vehicle.parked", "cycle.with_rider", "cycle.without_rider",
               "pedestrian.moving", "pedestrian.standing", ""}
    for actor in scene_of(seed, layout).actors:
        attribute = actor.attribute(5.0)
        assert attribute in allowed
        around = actor.trajectory.at(np.array([4.9, 5.1]))[:, :2]
        if attribute.endswith(".moving"):
            assert np.linalg.norm(around[1] - around[0]) > 0.05
        if attribute in ("vehicle.parked", "vehicle.stopped", "pedestrian.standing"):
            assert np.linalg.norm(around[1] - around[0]) < 0.08


@pytest.mark.parametrize("location", sorted(CANVAS))
def test_the_last_slot_lies_on_the_map(location):
    scene = build_scene("a", location, 1, 1.0, "ring", 0.2, slot=num_slots(location) - 1)
    points = np.concatenate([lane.centerline for lane in scene.town.lanes.values()])
    assert (points > 0).all()
    assert (points < scene.town.edge).all()
    assert (scene.static.vertices[:, :2] >= 0).all()
    assert (scene.static.vertices[:, :2] <= scene.town.edge).all()


def test_towns_of_two_slots_do_not_meet():
    first, second = (
        build_scene("a", "boston-seaport", 1, 1.0, "suburb", 0.2, slot=slot).static.vertices for slot in (0, 1)
    )
    assert first[:, 0].max() < second[:, 0].min() + 140.0    # only the bare land around them may



@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"location": "atlantis"}, "unknown location 'atlantis'"),
        ({"layout": "maze"}, "unknown layout 'maze'"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"duration_s": 0.0}, "duration_s and density must be > 0"),
        ({"duration_s": float("nan")}, "duration_s and density must be > 0"),
        ({"density": 0.0}, "duration_s and density must be > 0"),
        ({"slot": 99}, re.escape("slot must lie in [0, 24)")),
    ],
)
def test_build_scene_refuses_what_it_cannot_build(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_scene(**{"name": "a", "location": "boston-seaport", "seed": 0, **arguments})
