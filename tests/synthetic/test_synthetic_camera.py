"""The pinhole cameras on a handmade street."""

from __future__ import annotations

import numpy as np
import pytest
from handmade import car, street_scene
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull

from perception.synthetic import textures
from perception.synthetic.camera import Picture, photograph
from perception.synthetic.raycast import SceneCaster
from perception.synthetic.rig import Camera, default_rig, pose_matrix
from perception.synthetic.scene import Actor, Scene

CAMERAS = {camera.channel: camera for camera in default_rig().cameras}


def picture_of(scene: Scene, channel: str = "CAM_FRONT", time: float = 0.0) -> Picture:
    caster = SceneCaster(scene)
    snapshot = caster.snapshot(time, scene.ego.at(np.array([time]))[0])
    return photograph(snapshot, CAMERAS[channel], time, np.random.default_rng(0))


def project(points: np.ndarray, scene: Scene, camera: Camera, time: float) -> np.ndarray:
    """(N, 3) global points -> (N, 3) u, v, depth."""
    camera_from_global = np.linalg.inv(pose_matrix(scene.ego, time) @ camera.ego_from_camera)
    local = points @ camera_from_global[:3, :3].T + camera_from_global[:3, 3]
    uvw = local @ camera.intrinsics.T
    return np.column_stack([uvw[:, :2] / uvw[:, 2:], local[:, 2]])


def corners(actor: Actor, time: float) -> np.ndarray:
    x, y, z, yaw = actor.trajectory.at(np.array([time]))[0]
    signs = np.array([[i, j, k] for i in (-0.5, 0.5) for j in (-0.5, 0.5) for k in (-0.5, 0.5)]) * actor.size
    c, s = np.cos(yaw), np.sin(yaw)
    return signs @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + [x, y, z]


def hull_mask(pixels: np.ndarray, camera: Camera) -> np.ndarray:
    image = Image.new("1", (camera.width, camera.height))
    ImageDraw.Draw(image).polygon([tuple(p) for p in pixels[ConvexHull(pixels).vertices]], fill=1)
    return np.asarray(image)


@pytest.mark.parametrize(("x", "y", "yaw", "speed"), [(75.0, 98.0, 0.0, 0.0), (80.0, 101.0, 2.5, 0.0),
                                                      (78.0, 96.5, 0.7, 12.0)])
def test_the_mask_of_a_car_fills_the_hull_of_its_projected_box(x, y, yaw, speed):
    scene = street_scene(actors=(car(1, x, y, yaw, speed),))
    mask = picture_of(scene, time=0.2).panoptic == 17_001
    front = CAMERAS["CAM_FRONT"]
    hull = hull_mask(project(corners(scene.actors[0], 0.2), scene, front, 0.2)[:, :2], front)
    assert (mask & hull).sum() / (mask | hull).sum() >= 0.8


@pytest.mark.parametrize("channel", sorted(CAMERAS))
def test_every_camera_sees_the_car_that_stands_before_it(channel):
    yaw = CAMERAS[channel].trigger_yaw
    place = np.array([60.5, 98.0]) + 12.0 * np.array([np.cos(yaw), np.sin(yaw)])
    picture = picture_of(street_scene(actors=(car(7, *place, yaw + 1.0),), wall=False), channel)
    rows, columns = np.nonzero(picture.panoptic == 17_007)
    assert len(rows) > 300
    assert abs(columns.mean() - 200) < 60


def test_depth_and_pixel_of_a_ground_point_agree():
    scene = street_scene(actors=(), wall=False)
    u, v, depth = project(np.array([[72.0, 99.0, 0.0]]), scene, CAMERAS["CAM_FRONT"], 0.0)[0]
    depths = picture_of(scene).depth
    row = int(v)
    below, above = depths[row + 1, round(u)], depths[row, round(u)]
    assert below < depth <= above


def test_sky_has_code_zero_and_infinite_depth_and_no_car_shows_through_a_wall():
    scene = street_scene(actors=(car(1, 70.0, 125.0),))
    picture = picture_of(scene, "CAM_FRONT_LEFT")
    assert (picture.panoptic != 17_001).all()
    np.testing.assert_array_equal(picture.panoptic == 0, np.isinf(picture.depth))
    assert (picture.panoptic[-1] == 24_000).all()


def test_a_car_throws_a_shadow():
    lit, dark = (picture_of(street_scene(actors=actors, wall=False)) for actors in ((), (car(1, 75.0, 98.0),)))
    ground = (lit.panoptic == 24_000) & (dark.panoptic == 24_000)
    change = dark.rgb.astype(int).sum(axis=2)[ground] - lit.rgb.astype(int).sum(axis=2)[ground]
    assert (change < -60).sum() > 100                    # a dark patch beside the car
    assert (change == 0).mean() > 0.8                    # and nothing else


def test_pictures_are_the_same_every_time():
    assert picture_of(street_scene()).rgb.tobytes() == picture_of(street_scene()).rgb.tobytes()


@pytest.mark.parametrize("index", sorted(textures.TEXTURES))
def test_a_texture_varies_stays_in_range_and_blurs_to_its_mean_far_away(index):
    rng = np.random.default_rng(index)
    points = rng.uniform(-20, 20, (4000, 3))
    normals = np.tile([0.0, 1.0, 0.0], (4000, 1))
    gray = np.full((4000, 3), 0.5, np.float32)
    near, far = np.full(4000, 0.01), np.full(4000, 5.0)
    albedo = textures.textured(points, normals, gray, np.full(4000, index), near)
    assert albedo.min() >= 0.0
    assert albedo.max() <= 1.0
    assert albedo.std() > 0.005
    np.testing.assert_array_equal(albedo, textures.textured(points, normals, gray, np.full(4000, index), near))
    blurred = textures.textured(points, normals, gray, np.full(4000, index), far)
    assert blurred.std() <= albedo.std() + 1e-6
    assert abs(blurred.mean() - albedo.mean()) < 0.05


def test_plain_surfaces_keep_their_colour():
    colors = np.random.default_rng(0).random((10, 3)).astype(np.float32)
    nowhere = np.zeros((10, 3))
    np.testing.assert_array_equal(textures.textured(nowhere, nowhere, colors, np.zeros(10), np.ones(10)), colors)
