"""The other looks of the city: the same labels under another light, and the plain look unchanged."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from handmade import box_mesh, car, street_scene

from perception.synthetic.camera import Picture, photograph
from perception.synthetic.lidar import Sweep, scan
from perception.synthetic.looks import LOOKS, Look, find_look
from perception.synthetic.materials import Semantic, Texture
from perception.synthetic.raycast import SceneCaster
from perception.synthetic.rig import default_rig
from perception.synthetic.scene import Scene, Trajectory
from perception.synthetic.wet_ground import WetGround
from perception.synthetic.world import build_scene

RIG = default_rig(columns=180)
CAMERAS = {camera.channel: camera for camera in RIG.cameras}
ROAD_CODE = 24_000
TIME = 0.55

# What the city gave before it had looks: SHA-256 of bytes, the picture's mean colour in 7 x 8 blocks, returns by ring.
DAY_PICTURE = "3954b2e11d4a1c00c0d8a808a2f0b73a436e89e76c5e9d1dfa24e696bab7086b"
DAY_SWEEP = "ab85d7896a8a39e70cd91482bd6507fc5c6c1208f3df50afa139417a80496bfd"
DAY_BLOCKS = (
    "b8c4d3a9c3e5a7c2e5a6c2e5a6c2e5a6c0e35e6c7e2c333fd2cdc7aec1dbb1c9e7b0c8e7a4bad4889ab03e48582c333ee4e4ed91969eb6af"
    "b7aeb6c3b4c7df5b66774049572d343ee6e5ed8d98a1a9b2b88f97999799a35c6472434b572e353e87888c979a9e83888c868a8f767a8647"
    "4f643940532c32425b5d6372767e7a7b7c4e535a424854444b5e343c592e31506e717a71747a6c6b613f45523f46523f455139415d2e3150"
)
DAY_RETURNS = (179, 179, 176, 178, 178, 176, 178, 177, 177, 179, 176, 179, 177, 177, 177, 177, 178, 176, 178, 178, 168,
               168, 162, 150, 153, 154, 151, 151, 148, 133, 121, 111)


def town(look: Look) -> Scene:
    return build_scene("scene-0001", "boston-seaport", 3, 1.0, "suburb", 0.2, slot=0, look=look)


def sweep_of(scene: Scene, look: Look) -> Sweep:
    return scan(SceneCaster(scene, look), RIG.lidar, TIME, np.random.default_rng(0))


def picture_of(scene: Scene, look: Look, channel: str = "CAM_FRONT", seed: int = 0, time: float = TIME) -> Picture:
    caster = SceneCaster(scene, look)
    snapshot = caster.snapshot(time, scene.ego.at(np.array([time]))[0])
    return photograph(snapshot, CAMERAS[channel], time, np.random.default_rng(seed))


def digest(*arrays: np.ndarray) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def brightness(picture: Picture, mask: np.ndarray | None = None) -> float:
    return float(picture.rgb.mean() if mask is None else picture.rgb[mask].mean())


def bare(name: str) -> Look:
    """A look without what is drawn for every image, so that pixels can be compared."""
    return replace(LOOKS[name], image_effects=())


@pytest.fixture(scope="module")
def day_town() -> Scene:
    return town(LOOKS["day"])


@pytest.fixture(scope="module")
def rain_town() -> Scene:
    return town(LOOKS["rain"])


@pytest.fixture(scope="module")
def day_records(day_town: Scene) -> tuple[Picture, Sweep]:
    sweep = sweep_of(day_town, LOOKS["day"])
    caster = SceneCaster(day_town)
    snapshot = caster.snapshot(TIME, sweep.global_from_sensor[:3, 3])
    return photograph(snapshot, CAMERAS["CAM_FRONT"], TIME, np.random.default_rng(0)), sweep


def has_avx512() -> bool:
    from numpy.core._multiarray_umath import __cpu_features__

    return bool(__cpu_features__.get("AVX512F"))


@pytest.mark.skipif(has_avx512(), reason="numpy's AVX-512 kernels round powers differently from those of the digests")
def test_the_plain_look_is_byte_for_byte_what_the_city_was_without_looks(day_records):
    picture, sweep = day_records
    assert digest(picture.rgb, picture.panoptic, picture.depth) == DAY_PICTURE
    assert digest(sweep.points, sweep.semantic, sweep.instance) == DAY_SWEEP


def test_the_plain_look_is_what_the_city_was_without_looks_on_every_processor(day_records):
    picture, sweep = day_records
    blocks = np.round(picture.rgb.reshape(7, 32, 8, 50, 3).mean(axis=(1, 3))).ravel()
    known = np.frombuffer(bytes.fromhex(DAY_BLOCKS), np.uint8)
    np.testing.assert_allclose(blocks, known, atol=1)                  # a mean may round to either side
    returns = np.bincount(sweep.points[:, 4].astype(int), minlength=32)
    np.testing.assert_allclose(returns, DAY_RETURNS, atol=1)           # so may a beam's chance to come back


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_labels_and_depth_of_a_street_are_the_same_in_every_look(look):
    plain, other = picture_of(street_scene(), LOOKS["day"]), picture_of(street_scene(), look)
    np.testing.assert_array_equal(other.panoptic, plain.panoptic)
    np.testing.assert_array_equal(other.depth, plain.depth)


def test_a_town_in_rain_has_the_geometry_and_the_labels_of_the_town_by_day(day_town, rain_town):
    for name in ("vertices", "triangles", "semantic", "texture"):
        np.testing.assert_array_equal(getattr(rain_town.static, name), getattr(day_town.static, name))
    assert len(rain_town.actors) == len(day_town.actors)
    for wet, dry in zip(rain_town.actors, day_town.actors, strict=True):
        np.testing.assert_array_equal(wet.trajectory.poses, dry.trajectory.poses)
    plain, wet = picture_of(day_town, LOOKS["day"]), picture_of(rain_town, LOOKS["rain"])
    np.testing.assert_array_equal(wet.panoptic, plain.panoptic)


def test_a_wet_road_sends_fewer_and_duller_beams_back_and_what_stands_on_it_does_not(day_town, rain_town):
    dry, wet = sweep_of(day_town, LOOKS["day"]), sweep_of(rain_town, LOOKS["rain"])
    road = [sweep.points[sweep.semantic == Semantic.ROAD] for sweep in (dry, wet)]
    far = [int((np.linalg.norm(points[:, :2], axis=1) > 15.0).sum()) for points in road]
    assert 0 < far[1] < 0.75 * far[0]
    assert np.median(road[1][:, 3]) < 0.3 * np.median(road[0][:, 3])
    for kind in (Semantic.VEGETATION, Semantic.CAR):
        assert (wet.semantic == kind).sum() == (dry.semantic == kind).sum() > 0


def test_the_foreign_look_keeps_the_streets_and_changes_what_stands_on_them(day_town):
    foreign = town(LOOKS["foreign"])
    assert foreign.town.lanes.keys() == day_town.town.lanes.keys()
    for key, lane in foreign.town.lanes.items():
        np.testing.assert_array_equal(lane.centerline, day_town.town.lanes[key].centerline)
    assert Texture.SHUTTERS in foreign.static.texture
    assert Texture.BRICK in day_town.static.texture
    ground = [scene.static.colors[scene.static.semantic == Semantic.TERRAIN][0].astype(int)
              for scene in (day_town, foreign)]
    assert np.abs(ground[0] - ground[1]).max() > 60                    # sand in place of grass


def test_looks_are_ordered_by_their_brightness_and_differ_in_colour():
    means = {name: picture_of(street_scene(), look).rgb.mean(axis=(0, 1)) for name, look in LOOKS.items()}
    level = {name: float(mean.mean()) for name, mean in means.items()}
    assert level["night"] < 0.5 * level["dusk"] < 0.5 * level["rain"] < 0.5 * level["day"]
    assert means["dusk"][0] > 1.15 * means["dusk"][2]                  # red
    assert np.ptp(means["rain"]) < 0.5 * np.ptp(means["dusk"])         # grey


def test_a_street_lamp_throws_a_pool_of_light_that_fades():
    scene = replace(street_scene(actors=(), wall=False), lamps=np.array([[80.0, 100.0, 7.0]]))
    look = replace(bare("night"), surface_effects=LOOKS["night"].surface_effects[:1])
    picture, dark = picture_of(scene, look), picture_of(replace(scene, lamps=np.zeros((0, 3))), look)
    ground, nearness = picture.panoptic == ROAD_CODE, np.abs(picture.depth - 14.0)
    gain = picture.rgb.astype(float).mean(axis=-1) / np.maximum(dark.rgb.mean(axis=-1), 1.0)
    assert gain[ground & (nearness < 1.5)].max() > 4.0
    assert (gain[ground & (picture.depth > 45.0)] == 1.0).all()        # 29 m behind the lamp, beyond its reach


def test_head_lamps_light_the_road_ahead_and_leave_what_is_behind_dark():
    scene = street_scene(actors=(), wall=False)
    ahead, behind = picture_of(scene, bare("night")), picture_of(scene, bare("night"), "CAM_BACK")
    lit, dark = (brightness(picture, (picture.depth > 5.0) & (picture.depth < 15.0)) for picture in (ahead, behind))
    assert lit > 2.0 * dark


@pytest.mark.parametrize(("speed", "shines"), [(9.0, True), (0.0, False)])
def test_lamps_shine_on_what_drives_and_are_off_on_what_is_parked(speed, shines):
    lamp = box_mesh((4.2, 1.7, 1.4), Semantic.CAR, color=(170, 20, 20), texture=Texture.LAMP)
    actor = replace(car(1, 78.0, 98.0, speed=speed), mesh=lamp)
    if speed:
        actor = replace(actor, trajectory=Trajectory(np.array([0.0, 1.0]), actor.trajectory.poses[[0, 0]]))
    picture = picture_of(street_scene(actors=(actor,), wall=False), bare("night"))
    red = picture.rgb[picture.panoptic == 17_001, 0]
    assert len(red) > 100
    assert (np.median(red) > 180) == shines


def test_some_windows_are_lit_at_night_and_most_are_dark():
    picture = picture_of(street_scene(actors=()), bare("night"), "CAM_FRONT_LEFT")
    facade = picture.rgb[picture.panoptic == 28_000].astype(float)
    warm = (facade[:, 0] > 90) & (facade[:, 0] > 1.2 * facade[:, 2])
    assert 0.005 < warm.mean() < 0.25


def test_a_wet_road_mirrors_the_car_that_stands_on_it():
    look = bare("rain")
    red = car(1, 75.0, 98.0)
    empty, parked = (picture_of(street_scene(actors=actors, wall=False), look) for actors in ((), (red,)))
    ground = (empty.panoptic == ROAD_CODE) & (parked.panoptic == ROAD_CODE)
    change = parked.rgb[ground].astype(int) - empty.rgb[ground].astype(int)
    assert (np.abs(change).max(axis=1) > 8).sum() > 100                # no sun, no shadow: it is the mirror image
    assert (change == 0).all(axis=1).mean() > 0.7
    dry = replace(look, surface_effects=tuple(e for e in look.surface_effects if not isinstance(e, WetGround)))
    without = [picture_of(street_scene(actors=actors, wall=False), dry).rgb[ground] for actors in ((), (red,))]
    np.testing.assert_array_equal(*without)


@pytest.mark.parametrize("name", ["night", "rain", "dusk"])
def test_the_same_seed_gives_the_same_picture_and_another_seed_another(name):
    scene = street_scene()
    first, again, other = (picture_of(scene, LOOKS[name], seed=seed) for seed in (1, 1, 2))
    assert first.rgb.tobytes() == again.rgb.tobytes()
    assert first.rgb.tobytes() != other.rgb.tobytes()


@pytest.mark.parametrize("name", ["day", "foreign"])
def test_a_look_without_noise_draws_nothing(name):
    first, other = (picture_of(street_scene(), LOOKS[name], seed=seed) for seed in (1, 2))
    assert first.rgb.tobytes() == other.rgb.tobytes()


@pytest.mark.parametrize("name", sorted(LOOKS))
def test_a_look_is_found_by_its_name(name):
    assert find_look(name).name == name


def test_an_unknown_look_is_refused_with_the_known_ones_and_the_nearest():
    with pytest.raises(ValueError, match=r'look must be one of day, night.*got \'nigth\' \(did you mean "night"\?\)'):
        find_look("nigth")
