"""Towns that several drives go through: the same streets at other times, each town at a place of its own."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.map_expansion.map_api import NuScenesMap
from PIL import Image

from perception.datasets.nuscenes_places import NuScenesPlaces
from perception.datasets.town_places import read_town_places
from perception.geo import great_circle_km
from perception.geo.s2_cells import leaf_ids, parent_ids
from perception.synthetic.city_plan import ScenePlan, TownSite, plan_scenes, town_site
from perception.synthetic.generate import MARKER, generate_city
from perception.synthetic.lane_graph import Network, build_network
from perception.synthetic.layout import LAYOUTS, make_plan
from perception.synthetic.looks import DAY
from perception.synthetic.options import Options
from perception.synthetic.rig import default_rig
from perception.synthetic.scene import Scene
from perception.synthetic.tour import tour, tour_leg
from perception.synthetic.town_character import OVERCAST, look_of, townscape_of, weathered
from perception.synthetic.town_files import TOWNS
from perception.synthetic.townscape import TEMPERATE
from perception.synthetic.world import build_scene

TOWNS_TRIED = 12


def sites(count: int = TOWNS_TRIED) -> list[TownSite]:
    return [town_site(number, seed=0) for number in range(count)]


def network_of(layout: str) -> Network:
    return build_network(make_plan(layout, np.random.default_rng(3)), 1)


def test_drives_of_both_splits_go_through_the_same_towns_in_turn():
    plans = plan_scenes(6, 3, seed=1, towns=3)
    by_town: dict[str, list[ScenePlan]] = {}
    for plan in plans:
        by_town.setdefault(plan.town_name, []).append(plan)
    assert list(by_town) == ["town-0", "town-1", "town-2"]
    for drives in by_town.values():
        assert [(drive.split, drive.drive.leg) for drive in drives] == [("train", 0), ("train", 1), ("val", 0)]
        assert len({(drive.location, drive.slot, drive.page, drive.layout, drive.drive.town) for drive in drives}) == 1
    assert len({plan.seed for plan in plans}) == len(plans)
    assert plan_scenes(3, 0, seed=1, towns=3) == plans[:3]


def test_towns_stand_apart_on_the_maps_and_on_the_globe():
    towns = sites(24)
    assert len({(town.location, town.slot, town.page) for town in towns}) == 24
    places = np.array([town.latlng for town in towns])
    assert np.abs(places[:, 0]).max() < 65.0
    assert len(set(parent_ids(leaf_ids(places), 2).tolist())) == 24       # each a cell of the coarsest hierarchy
    assert {town.layout for town in towns} == set(LAYOUTS)


def test_towns_share_the_palette_of_their_buildings_and_nothing_else():
    looks = [townscape_of(town) for town in sites()]
    for name in ("walls", "tall_walls", "low_walls", "tall_facade", "roof", "flat_roof"):
        assert all(getattr(look, name) is getattr(TEMPERATE, name) for look in looks), name
    own = {(town.layout, town.skyline, look.trees, look.leaves, look.asphalt, look.paving, look.lane_marking)
           for town, look in zip(sites(), looks, strict=True)}
    assert len(own) == TOWNS_TRIED
    assert min(len({getattr(look, name) for look in looks}) for name in ("trees", "leaves", "asphalt", "paving")) >= 3


def test_weather_changes_from_drive_to_drive_and_some_days_are_overcast():
    days = [weathered(DAY.light, np.random.default_rng(seed)) for seed in range(200)]
    grey = np.mean([not day.throws_shadows for day in days])
    assert grey == pytest.approx(OVERCAST, abs=0.1)                                  # three standard deviations
    assert len({day.exposure for day in days}) == 200
    assert all(day.zenith.dtype == np.float32 and (day.zenith > 0).all() for day in days)
    plans = plan_scenes(2, 2, seed=0, towns=2)
    assert look_of(plans[0], DAY).light.exposure != look_of(plans[2], DAY).light.exposure
    assert look_of(plan_scenes(1, 0, seed=0)[0], DAY) is DAY


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_tour_goes_through_every_street_in_both_directions(layout):
    network = network_of(layout)
    keys = list(islice(tour(network, np.random.default_rng(0)), 1200))
    for key, following in pairwise(keys):
        assert following in network.lanes[key].successors
    ways = Counter(key.rstrip("0123456789") for key in keys if not network.lanes[key].is_connector)
    assert set(ways) == {key.rstrip("0123456789") for key, lane in network.lanes.items() if not lane.is_connector}
    early = {key.rstrip("0123456789") for key in keys[: 3 * len(ways)]}       # every second one is a connector
    assert len(early & set(ways)) >= 0.85 * len(ways)


def test_legs_follow_each_other_and_splits_have_tours_of_their_own():
    network = network_of("old_town")
    plans = plan_scenes(6, 2, seed=0, towns=1)
    legs = [tour_leg(network, plan.drive, 20.0) for plan in plans]
    for (route, start), (following, _) in pairwise(legs[:6]):
        begin = following.ribbon.points[0]
        gap = np.linalg.norm(route.ribbon.at(start + np.arange(0.0, 190.0)) - begin, axis=1).min()
        assert gap < 3.0                                      # the next leg begins on the way of this one
        assert route.ribbon.length >= start + 9.0 * 21.0
    assert legs[0][0].keys != legs[6][0].keys


def test_a_smaller_picture_shows_the_same():
    camera = default_rig().cameras[0]
    half = camera.scaled_by(0.5)
    assert (half.width, half.height) == (200, 112)
    blocks = camera.directions().reshape(112, 2, 200, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(half.directions(), blocks, atol=1e-12)
    assert camera.scaled_by(2.0).scaled_by(0.5).intrinsics == pytest.approx(camera.intrinsics)


@pytest.fixture(scope="module")
def two_drives() -> tuple[Scene, Scene]:
    plans = plan_scenes(1, 1, seed=0, towns=1)
    first, second = (
        build_scene(plan.name, plan.location, plan.seed, 0.5, plan.layout, 0.1, plan.slot, look_of(plan, DAY),
                    plan.drive) for plan in plans
    )
    return first, second


def test_two_drives_see_the_same_town_in_other_traffic_from_another_way(two_drives):
    first, second = two_drives
    for name in ("vertices", "triangles", "colors", "semantic"):
        np.testing.assert_array_equal(getattr(first.static, name), getattr(second.static, name))
    assert first.town.lanes.keys() == second.town.lanes.keys()
    assert not np.array_equal(first.ego.poses, second.ego.poses)
    assert not np.array_equal(first.sun, second.sun)
    moving = [{tuple(actor.trajectory.poses[0, :2]) for actor in scene.actors if len(actor.trajectory.times) > 1}
              for scene in two_drives]
    assert moving[0]
    assert not moving[0] & moving[1]


def test_a_root_of_towns_opens_and_has_every_town_once(towns_root: Path):
    nusc = NuScenes("v1.0-trainval", str(towns_root), verbose=False)
    assert [scene["name"] for scene in nusc.scene] == ["scene-0001", "scene-0002", "scene-0003", "scene-0012"]
    for location in ("singapore-onenorth", "boston-seaport"):
        layers = NuScenesMap(str(towns_root), location)
        assert len({row["token"] for row in layers.lane}) == len(layers.lane) > 50
        features = json.loads((towns_root / f"maps/sd_map/{location}.json").read_text())["features"]
        assert len({feature["id"] for feature in features}) == len(features)
        assert {feature["id"].split("/")[0] for feature in features} <= {"town-0", "town-1"}
        tile = json.loads((towns_root / f"maps/sd_tiles/{features[0]['id'].split('/')[0]}.json").read_text())
        assert tile["features"] == features
    record = json.loads((towns_root / MARKER).read_text())
    assert (record["towns"], record["channels"], record["picture_scale"]) == (2, ["CAM_FRONT"], 0.5)
    assert [path.name for path in (towns_root / "samples").glob("CAM_*")] == ["CAM_FRONT"]
    pictures = sorted((towns_root / "samples/CAM_FRONT").iterdir())
    assert len(pictures) == 8
    assert {Image.open(path).size for path in pictures} == {(200, 112)}


def test_pictures_of_a_town_lie_together_and_those_of_others_far_away(towns_root: Path):
    towns = sites(2)
    for split in ("train", "val"):
        dataset = NuScenesPlaces(towns_root, split=split)
        assert len(dataset) == 4
        for number, frame in enumerate(dataset):
            place = np.array([frame.wgs84[:2]])
            distances = [float(great_circle_km(place, [town.latlng])[0]) for town in towns]
            assert distances[number // 2] < 0.7                              # within a square of 490 m
            assert distances[1 - number // 2] > 1000.0


def test_the_file_of_towns_names_the_drives_of_each(towns_root: Path):
    content = json.loads((towns_root / TOWNS).read_text())
    drives = {town["name"]: town["drives"] for town in content["towns"]}
    assert drives == {"town-0": ["scene-0001", "scene-0003"], "town-1": ["scene-0002", "scene-0012"]}
    places = read_town_places(towns_root / TOWNS)
    assert (places["scene-0003"].latitude, places["scene-0003"].longitude) == town_site(0, 0).latlng


def test_a_city_without_shared_towns_tells_what_it_always_told():
    assert list(Options().record()) == ["seed", "duration_s", "cameras", "density", "columns", "look"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"towns": -1}, "towns must be >= 0, got -1"),
        ({"towns": 3}, "train_scenes must be 0 or enough for each of 3 towns, got 2"),
        ({"towns": 2, "look": "rain"}, "look must be one of day, night, dusk where towns have styles of their own"),
        ({"channels": ["CAM_FRNT"]}, r'channels must be some of .*, got .CAM_FRNT. \(did you mean "CAM_FRONT"\?\)'),
        ({"picture_scale": 0.0}, r"picture_scale must lie in \[0.1, 4\], got 0.0"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_written(tmp_path: Path, options, message):
    with pytest.raises(ValueError, match=message):
        generate_city(tmp_path / "city", 2, 0, **options)
    assert list(tmp_path.iterdir()) == []
