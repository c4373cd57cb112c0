"""A small city from end to end: generated once, opened, queried and scored by the official devkit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import street_scene
from handmade_root import devkit_points
from nuscenes import NuScenes
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.map_expansion.map_api import NuScenesMap
from nuscenes.utils import splits
from nuscenes.utils.geometry_utils import points_in_box
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull

from perception.errors import PerceptionError
from perception.synthetic.camera import photograph
from perception.synthetic.city_plan import TRAIN_LAYOUTS, VAL_LAYOUTS, plan_scenes
from perception.synthetic.generate import MARKER, generate_city
from perception.synthetic.labels import annotate, points_to_global
from perception.synthetic.labels import points_in_box as points_within
from perception.synthetic.lidar import scan
from perception.synthetic.nuscenes_writer import SceneLabel
from perception.synthetic.raycast import SceneCaster
from perception.synthetic.rig import Camera, default_rig, pose_matrix
from perception.synthetic.scene import Actor, Scene, Trajectory
from perception.synthetic.statistics import CityStatistics
from perception.synthetic.world import build_scene

LARGE = ("vehicle.car", "vehicle.truck", "vehicle.bus.rigid", "vehicle.bus.bendy")
VEHICLES = range(15, 24)                     # lidarseg indices of buses to trucks
DURATION_S = 1.5


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CityStatistics]:
    root = tmp_path_factory.mktemp("city") / "root"
    return root, generate_city(root, 1, 1, seed=0, duration_s=DURATION_S, workers=1)


@pytest.fixture(scope="session")
def nusc(city: tuple[Path, CityStatistics]) -> NuScenes:
    return NuScenes("v1.0-trainval", str(city[0]), verbose=False)


@pytest.fixture(scope="session")
def worlds() -> dict[str, Scene]:
    """The scenes of the city before a sensor saw them."""
    return {plan.name: build_scene(plan.name, plan.location, plan.seed, DURATION_S, plan.layout, slot=plan.slot)
            for plan in plan_scenes(1, 1, seed=0)}


def keyframes(nusc: NuScenes) -> list[tuple[dict, np.ndarray, np.ndarray]]:
    """Sample, points (N, 5) and panoptic codes (N,) of every keyframe."""
    rows = []
    for sample in nusc.sample:
        name = sample["data"]["LIDAR_TOP"]
        codes = np.load(Path(nusc.dataroot) / nusc.get("panoptic", name)["filename"])["data"]
        rows.append((sample, devkit_points(nusc, name), codes))
    return rows


def lidar_boxes(nusc: NuScenes, sample: dict) -> list:
    return nusc.get_sample_data(sample["data"]["LIDAR_TOP"])[1]


def test_scenes_bear_official_names_of_both_splits(nusc):
    names = [scene["name"] for scene in nusc.scene]
    assert [name in splits.train for name in names] == [True, False]
    assert [name in splits.val for name in names] == [False, True]


def test_num_lidar_pts_is_what_the_devkit_counts(nusc):
    wrong, total = [], 0
    for sample, points, _ in keyframes(nusc):
        for box in lidar_boxes(nusc, sample):
            total += 1
            row = nusc.get("sample_annotation", box.token)
            if row["num_lidar_pts"] != points_in_box(box, points[:, :3].T).sum():
                wrong.append(row["token"])
    assert total > 100
    assert wrong == []


def test_boxes_enclose_97_percent_of_a_vehicles_returns(nusc):
    """A box is annotated when the beam met it, so points need not be moved, save where a sweep begins and ends."""
    shares = []
    for sample, points, codes in keyframes(nusc):
        for box in lidar_boxes(nusc, sample):
            inside = points_in_box(box, points[:, :3].T)
            mine = codes[inside & np.isin(codes // 1000, VEHICLES) & (codes % 1000 > 0)]
            own = codes == (np.bincount(mine).argmax() if len(mine) else 0)
            if own.sum() >= 20:
                shares.append((own & inside).sum() / own.sum())
    assert len(shares) >= 20
    assert np.mean(np.array(shares) >= 0.97) >= 0.95


def test_boxes_enclose_97_percent_of_every_vehicles_motion_compensated_returns(worlds):
    checked = 0
    for scene in worlds.values():
        caster, lidar = SceneCaster(scene), default_rig(cameras=False).lidar
        sweep = scan(caster, lidar, 0.95, np.random.default_rng(0))
        points = points_to_global(sweep)
        for annotation in annotate(caster, lidar, sweep, np.zeros(3)):
            actor = scene.actors[annotation.actor]
            own = sweep.instance == actor.instance
            if actor.category.startswith("vehicle") and own.sum() >= 20:
                checked += 1
                moved = carried(points[own], actor.trajectory.at(sweep.beam_time[own]), annotation.pose)
                assert points_within(moved, annotation.pose, actor.size).mean() >= 0.97
    assert checked >= 20


def carried(points: np.ndarray, then: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Points (N, 3) moved along with a body from its poses ``then`` (N, 4) to its pose ``now`` (4,)."""
    offset, turned = points - then[:, :3], now[3] - then[:, 3]
    c, s = np.cos(turned), np.sin(turned)
    x, y, z = offset.T
    return np.stack([c * x - s * y, s * x + c * y, z], axis=-1) + now[:3]


def test_the_devkit_scores_the_truth_as_perfect(nusc, tmp_path):
    results = {}
    for scene in nusc.scene:
        if scene["name"] in splits.val:
            for sample in nusc.sample:
                if sample["scene_token"] == scene["token"]:
                    results[sample["token"]] = _as_results(nusc, sample["anns"])
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"meta": {"use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False,
                                         "use_external": False}, "results": results}))
    config = config_factory("detection_cvpr_2019")
    evaluation = DetectionEval(nusc, config, str(path), "val", str(tmp_path), verbose=False)
    metrics, _ = evaluation.evaluate()
    present = {box.detection_name for box in evaluation.gt_boxes.all}
    assert len(present) >= 6
    assert all(metrics.mean_dist_aps[name] > 0.999 for name in present)
    assert metrics.tp_errors["trans_err"] < 0.5                    # 1 for absent classes, 0 for the others


def _as_results(nusc: NuScenes, names: list[str]) -> list[dict]:
    results = []
    for row in (nusc.get("sample_annotation", name) for name in names):
        detection_name = category_to_detection_name(row["category_name"])
        attributes = [nusc.get("attribute", token)["name"] for token in row["attribute_tokens"]]
        if detection_name is not None and row["num_lidar_pts"]:          # boxes without a point are not scored
            results.append({
                "sample_token": row["sample_token"], "translation": row["translation"], "size": row["size"],
                "rotation": row["rotation"], "velocity": np.nan_to_num(nusc.box_velocity(row["token"])[:2]).tolist(),
                "detection_name": detection_name, "detection_score": 0.9,
                "attribute_name": attributes[0] if attributes else ""})
    return results


def test_masks_fill_the_projected_hulls_of_near_unoccluded_vehicles(worlds):
    """Vehicles of the city, each put alone before the front camera and turned a little further than the last."""
    camera, overlaps = default_rig().cameras[0], []
    vehicles = [actor for scene in worlds.values() for actor in scene.actors if actor.category in LARGE]
    for number, actor in enumerate(vehicles[:40:2]):
        place = np.array([[74.0 + actor.size[0] / 2, 98.0, actor.size[2] / 2, 0.7 * number]])
        scene = street_scene(actors=(replace(actor, trajectory=Trajectory(np.zeros(1), place)),), wall=False)
        picture = photograph(SceneCaster(scene).snapshot(0.0, place[0]), camera, 0.0, np.random.default_rng(0))
        overlaps += _hull_overlap(_project(scene.actors[0], scene, camera), picture.panoptic)
    assert len(overlaps) >= 10
    assert np.mean(overlaps) >= 0.8


def _project(actor: Actor, scene: Scene, camera: Camera) -> np.ndarray:
    """(V, 2) pixels of a mesh's vertices."""
    mesh_pose, ego_pose = pose_matrix(actor.trajectory, 0.0), pose_matrix(scene.ego, 0.0)
    matrix = np.linalg.inv(ego_pose @ camera.ego_from_camera) @ mesh_pose
    local = actor.mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    return (local @ camera.intrinsics.T)[:, :2] / local[:, 2:]


def _hull_overlap(pixels: np.ndarray, codes: np.ndarray) -> list[float]:
    """IoU of the vertices' hull with the mask of the only actor, for one that is wholly in the image."""
    height, width = codes.shape
    if pixels.min() < 0 or (pixels.max(axis=0) > [width - 1, height - 1]).any():
        return []
    image = Image.new("1", (width, height))
    ImageDraw.Draw(image).polygon([tuple(p) for p in pixels[ConvexHull(pixels).vertices]], fill=1)
    inside, mask = np.asarray(image), codes % 1000 > 0
    return [(mask & inside).sum() / (mask | inside).sum()]


def test_velocities_are_those_of_the_actors_to_a_tenth(nusc, worlds):
    """A box stands where the beam met it; what passes closely is met ever earlier or later, which bends its speed."""
    errors = []
    for plan in plan_scenes(1, 1, seed=0):
        label = SceneLabel(plan.name, plan.number, "city-0", plan.location)
        actors = {label.token("instance", actor.instance): actor for actor in worlds[plan.name].actors}
        for row in nusc.sample_annotation:
            found = nusc.box_velocity(row["token"])[:2]
            if row["instance_token"] in actors and np.isfinite(found).all():
                time = (nusc.get("sample", row["sample_token"])["timestamp"] - label.timestamp(0.0)) / 1e6
                span = np.array([time - 0.5 * bool(row["prev"]), time + 0.5 * bool(row["next"])])
                first, last = actors[row["instance_token"]].trajectory.at(span)[:, :2]
                truth = (last - first) / (span[1] - span[0])
                errors.append(np.linalg.norm(found - truth) / max(1.0, np.linalg.norm(truth)))
    assert len(errors) > 200
    assert np.percentile(errors, 90) < 0.1


def test_points_on_the_road_are_on_the_maps_drivable_area(nusc, city):
    for scene in nusc.scene:
        location = nusc.get("log", scene["log_token"])["location"]
        name = nusc.get("sample", scene["first_sample_token"])["data"]["LIDAR_TOP"]
        x, y, _ = nusc.get("ego_pose", nusc.get("sample_data", name)["ego_pose_token"])["translation"]
        street_map = NuScenesMap(str(city[0]), location)
        assert street_map.layers_on_point(x, y, ["drivable_area"])["drivable_area"]
        patch = (x - 50, y - 50, x + 50, y + 50)
        records = street_map.get_records_in_patch(patch, ["lane", "walkway", "road_segment"])
        assert all(len(found) for found in records.values())
        mask = street_map.get_map_mask((x, y, 60, 60), 0.0, ["drivable_area"], (60, 60))
        assert 0.1 < mask.mean() < 0.9
        assert nusc.get("map", nusc.get("log", scene["log_token"])["map_token"])["mask"].is_on_mask(x, y)[0]
        assert street_map.get_closest_lane(x, y, 5.0)


def test_every_instance_is_chained_in_order_of_time(nusc):
    for instance in nusc.instance:
        name, times = instance["first_annotation_token"], []
        while name:
            row = nusc.get("sample_annotation", name)
            assert row["instance_token"] == instance["token"]
            times.append(nusc.get("sample", row["sample_token"])["timestamp"])
            name = row["next"]
        assert times == sorted(times)
        assert len(times) == instance["nbr_annotations"]


def test_no_return_comes_from_the_car_itself(nusc):
    for _, points, _ in keyframes(nusc):
        assert np.linalg.norm(points[:, :2], axis=1).min() > 0.8


def test_statistics_count_what_was_written(city, nusc):
    statistics = city[1]
    assert (statistics.scenes, statistics.keyframes, statistics.sweeps, statistics.images) == (2, 6, 30, 36)
    assert statistics.median_objects >= 25
    assert sum(statistics.boxes["val"].values()) > 50
    assert set(statistics.seconds) == {scene["name"] for scene in nusc.scene}


def test_one_process_and_two_write_the_same_bytes(tmp_path):
    roots = [tmp_path / "one", tmp_path / "two"]
    for workers, root in enumerate(roots, start=1):
        generate_city(root, 1, 1, seed=7, duration_s=0.5, density=0.3, columns=180, workers=workers)
    first, second = ({path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
                     for root in roots)
    assert first.keys() == second.keys()
    for name in first:
        if name.suffix == ".json":                 # so that a difference is told row by row
            assert json.loads(first[name]) == json.loads(second[name]), name
    assert [str(name) for name in first if first[name] != second[name]] == []


def test_splits_share_neither_layout_nor_seed_nor_place():
    plans = plan_scenes(20, 20, seed=3)
    train, val = plans[:20], plans[20:]
    assert {plan.layout for plan in train} == set(TRAIN_LAYOUTS)
    assert {plan.layout for plan in val} == set(VAL_LAYOUTS)
    assert len({plan.seed for plan in plans}) == 40
    assert len({(plan.location, plan.slot, plan.page) for plan in plans}) == 40


def test_more_scenes_leave_the_first_ones_as_they_are():
    assert plan_scenes(3, 1, seed=1) == [plan for plan in plan_scenes(6, 2, seed=1)
                                         if plan in plan_scenes(3, 0, 1) + plan_scenes(0, 1, 1)]


@pytest.mark.parametrize(("train", "val", "message"), [
    (0, 0, "at least one scene"), (-1, 1, r"train_scenes must lie in \[0, 700\], got -1"),
    (1, 151, r"val_scenes must lie in \[0, 150\], got 151")])
def test_a_wrong_number_of_scenes_is_refused(train, val, message):
    with pytest.raises(ValueError, match=message):
        plan_scenes(train, val, seed=0)


@pytest.mark.parametrize(("options", "message"), [
    ({"duration_s": 0.7}, "multiple of 0.5 s"), ({"density": 0.0}, "density must be positive"),
    ({"seed": -1}, "seed must be >= 0"), ({"workers": 0}, "workers must be at least 1"),
    ({"columns": 10}, "columns must be at least 36"), ({"look": "noon"}, "look must be one of day, night, rain")])
def test_a_wrong_option_is_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        generate_city(tmp_path / "city", 1, 0, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(PerceptionError, match="not a synthetic city"):
        generate_city(tmp_path, 1, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "city").write_text("")
    with pytest.raises(PerceptionError, match="expected a folder"):
        generate_city(tmp_path / "city", 1, 0)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PerceptionError, match="cannot write the city"):
        generate_city(tmp_path / "file" / "city", 1, 0)


def test_an_older_city_is_replaced_and_nothing_is_left_beside(tmp_path):
    root = tmp_path / "city"
    root.mkdir()
    (root / MARKER).write_text("{}")
    (root / "old.bin").write_text("")
    generate_city(root, 1, 0, duration_s=0.5, cameras="none", columns=60, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["city"]
    assert not (root / "old.bin").exists()
    assert json.loads((root / MARKER).read_text())["train_scenes"] == 1


def test_a_city_by_night_is_dark_and_says_so(tmp_path):
    generate_city(tmp_path / "city", 1, 0, duration_s=0.5, density=0.3, columns=60, look="night", workers=1)
    scene, = json.loads((tmp_path / "city/v1.0-trainval/scene.json").read_text())
    assert "town at night, seed" in scene["description"]
    assert json.loads((tmp_path / "city" / MARKER).read_text())["look"] == "night"
    pictures = [np.asarray(Image.open(path)) for path in (tmp_path / "city/samples").glob("CAM_*/*.jpg")]
    assert len(pictures) == 6
    assert np.mean(pictures) < 60                        # by day about 110


def test_images_can_be_left_out_of_the_training_scenes(tmp_path):
    statistics = generate_city(tmp_path / "city", 1, 1, duration_s=0.5, cameras="val", columns=60, workers=1)
    assert (statistics.keyframes, statistics.images) == (2, 6)
    names = [path.name for path in (tmp_path / "city/samples/CAM_FRONT").iterdir()]
    assert [name.split("__")[0] for name in names] == ["synthetic-scene-0003"]
