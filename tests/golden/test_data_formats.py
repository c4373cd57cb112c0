"""Files of the data sets read as the vendors' own code reads them; here Waymo's, the others where their readers are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.datasets.waymo.frames import WaymoFrame, read_frames
from perception.datasets.waymo.hd_map import Area, Lane, StopSign
from perception.datasets.waymo.motion import MotionScenario, read_scenarios
from perception.datasets.waymo.names import CAMERAS, LASERS, SHUTTER_DIRECTIONS
from perception.structures import SE3

ELSEWHERE = {
    "kitti_000008_boxes": "tests/structures/test_real_boxes.py, tests/datasets/test_kitti_dataset.py",
    "av2_points_in_boxes": "tests/structures/test_real_boxes.py, tests/datasets/test_argoverse2_dataset.py",
}
LEFT_OUT = {"av2_map_queries": "ground heights, rasters and centrelines are asked of the av2 package itself"}
DECODING = 2e-2        # [m]; the official decoder computes in float32 at global coordinates of kilometres


@pytest.mark.golden_files("data_formats", pattern="*.*")
def test_files_are_read_as_the_vendors_read_them(golden_file: Path, shared_data: Path):
    case = golden_file.stem.split("__")[0].removesuffix("_expected").removesuffix("_points")
    if case in ELSEWHERE or case in LEFT_OUT:
        return
    if golden_file.suffix == ".npz":                   # compared with the frame beside it
        assert frame_file(golden_file).is_file()
        return
    CHECKS[case, golden_file.suffix](golden_file, shared_data)


def frame_file(points: Path) -> Path:
    return points.with_name(points.stem.removesuffix("_points") + ".tfrecord")


def check_points(path: Path, shared_data: Path) -> None:
    (frame,) = read_frames(path)
    expected = np.load(path.with_name(f"{path.stem}_points.npz"))
    found: dict[str, np.ndarray] = {}
    for points in frame.returns(projections=True):
        name = f"return{points.return_number}.{points.laser}"
        columns = [points.range_m, points.intensity, points.elongation, *points.xyz.T]
        found[f"{name}.range_intensity_elongation_xyz"] = np.stack(columns, axis=1)
        assert points.projections is not None
        found[f"{name}.camera_projection"] = points.projections
    assert set(expected.files) <= found.keys()
    for name in expected.files:
        if name.endswith("camera_projection"):
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        else:
            np.testing.assert_array_equal(found[name][:, :3], expected[name][:, :3], err_msg=name)
            np.testing.assert_allclose(found[name][:, 3:], expected[name][:, 3:], atol=DECODING, rtol=0, err_msg=name)


def check_frame(path: Path, shared_data: Path) -> None:
    expected = json.loads(path.read_text(encoding="utf-8"))
    frames = (frame for file in records_of(shared_data, "perception_v1") for frame in read_frames(file))
    frame = next(frame for frame in frames if frame.segment == expected["context_name"])
    for key, wanted in expected.items():
        assert FRAME_PARTS[key](frame, wanted) == wanted, key


def check_map(path: Path, shared_data: Path) -> None:
    expected = json.loads(path.read_text(encoding="utf-8"))
    scenarios = (scenario for file in records_of(shared_data, "motion") for scenario in read_scenarios(file))
    scenario = next(scenario for scenario in scenarios if scenario.id == expected["scenario_id"])
    features = expected.pop("map_features")
    for key, wanted in expected.items():
        assert SCENARIO_PARTS[key](scenario) == wanted, key
    for kind in {feature["kind"] for feature in features}:
        found = getattr(scenario.hd_map, f"{kind}s")
        alike = [feature for feature in features if feature["kind"] == kind]
        assert [feature.id for feature in found] == [feature["id"] for feature in alike]
        for feature, wanted in zip(found, alike, strict=True):
            told = told_feature(kind, feature)
            assert {key: told[key] for key in wanted} == wanted
    assert len(scenario.hd_map) == len(features)


def records_of(shared_data: Path, folder: str) -> list[Path]:
    files = sorted((shared_data / "waymo" / folder).glob("*.tfrecord"))
    if not files:
        pytest.skip(f"no records in {shared_data / 'waymo' / folder}")
    return files


def told_feature(kind: str, feature: Any) -> dict[str, Any]:
    points = feature.points.tolist()
    if isinstance(feature, StopSign):
        return {"id": feature.id, "kind": kind, "lane": list(feature.lanes), "position": points[0]}
    told = {"id": feature.id, "kind": kind}
    shape = "polygon" if isinstance(feature, Area) else "polyline"
    told[f"{shape}_len_first_last"] = [len(points), points[0], points[-1]]
    if not isinstance(feature, Area):
        told["type"] = feature.type
    if isinstance(feature, Lane):
        told |= {name: getattr(feature, name) for name in ("speed_limit_mph", "interpolating")}
        told |= {name: list(getattr(feature, name)) for name in ("entry_lanes", "exit_lanes")}
        for side in ("left", "right"):
            told[f"n_{side}_neighbors"] = len(getattr(feature, f"{side}_neighbors"))
            parts = getattr(feature, f"{side}_boundaries")
            told[f"{side}_boundaries"] = [[p.lane_start, p.lane_end, p.feature_id, p.type] for p in parts]
    return told


def told_statistics(frame: WaymoFrame, wanted: dict[str, Any]) -> dict[str, Any]:
    statistics = frame.statistics
    return {
        "laserObjectCounts": told_counts(statistics.laser_objects.items()),
        "timeOfDay": statistics.time_of_day,
        "location": statistics.location,
        "weather": statistics.weather,
        "cameraObjectCounts": told_counts(statistics.camera_objects.items()),
    }


def told_counts(counts: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"type": f"TYPE_{name.upper()}", "count": count} for name, count in counts]


def told_cameras(frame: WaymoFrame, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": CAMERAS.index(name),
            "intrinsic": list(camera.intrinsic),
            "extrinsic": {"transform": told_pose(camera.vehicle_from_camera)},
            "width": camera.width,
            "height": camera.height,
            "rollingShutterDirection": SHUTTER_DIRECTIONS.index(camera.shutter_direction),
        }
        for name, camera in frame.cameras.items()
    ]


def told_lasers(frame: WaymoFrame, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A field that is absent in a message is absent in what is wanted, and reads 0 or nothing."""
    told = []
    for laser, message in zip(frame.lasers.values(), wanted, strict=True):
        whole = {
            "name": LASERS.index(laser.name),
            "beamInclinations": [] if laser.inclinations is None else laser.inclinations.tolist(),
            "beamInclinationMin": laser.inclination_range[0],
            "beamInclinationMax": laser.inclination_range[1],
            "extrinsic": {"transform": laser.vehicle_from_laser.ravel().tolist()},
        }
        told.append({key: value for key, value in whole.items() if key in message or value not in (0, [])})
    return told


def told_labels(frame: WaymoFrame, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    labels = frame.labels
    motion = np.concatenate([labels.boxes.velocities.numpy(), labels.vertical_speeds.numpy()[:, None]], axis=1)
    return [
        {
            "id": labels.ids[row],
            "type": int(labels.types[row]),
            "box": labels.boxes.tensor[row, :7].tolist(),
            "speed": np.nan_to_num(motion[row]).tolist(),
            "num_lidar_points_in_box": max(int(labels.num_points[row]), 0),
            "num_top_lidar_points_in_box": max(int(labels.num_top_points[row]), 0),
            "detection_difficulty_level": int(labels.detection_levels[row]),
            "most_visible_camera_name": labels.most_visible_cameras[row],
        }
        for row in range(len(labels))
    ]


def told_camera_labels(frame: WaymoFrame, wanted: dict[str, Any]) -> dict[str, Any]:
    return {
        str(CAMERAS.index(name)): [
            {"id": number, "type": kind, "box": box}
            for number, kind, box in zip(labels.ids, labels.types.tolist(), labels.boxes.tolist(), strict=True)
        ]
        for name, labels in frame.camera_labels.items()
    }


def told_pictures(frame: WaymoFrame, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    told = []
    for picture in frame.pictures.values():
        assert picture.panoptic is not None
        codes = picture.panoptic.codes()
        classes, counts = np.unique(codes // picture.panoptic.divisor, return_counts=True)
        instances = picture.panoptic.global_ids.items()
        told.append({
            "name": CAMERAS.index(picture.camera),
            "jpeg_bytes": len(picture.jpeg),
            "hw": list(codes.shape),
            "pose": told_pose(picture.global_from_vehicle),
            "velocity": picture.velocity.tolist(),
            "pose_timestamp": picture.pose_time_s,
            "shutter": picture.shutter_s,
            "camera_trigger_time": picture.trigger_time_s,
            "camera_readout_done_time": picture.readout_done_time_s,
            "panoptic_label_divisor": picture.panoptic.divisor,
            "sequence_id": picture.panoptic.sequence_id,
            "semantic_pixel_counts": dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True)),
            "num_segments": len(np.unique(codes)),
            "instance_id_to_global_id": [
                [local, number, local in picture.panoptic.tracked] for local, number in instances
            ],
        })
    return told


def told_pose(pose: SE3) -> list[float]:
    return pose.matrix().flatten().tolist()


FRAME_PARTS: dict[str, Callable[[WaymoFrame, Any], Any]] = {
    "context_name": lambda frame, wanted: frame.segment,
    "timestamp_micros": lambda frame, wanted: frame.timestamp_micros,
    "pose": lambda frame, wanted: told_pose(frame.global_from_vehicle),
    "stats": told_statistics,
    "camera_calibrations": told_cameras,
    "laser_calibrations": told_lasers,
    "laser_labels": told_labels,
    "camera_labels": told_camera_labels,
    "projected_lidar_label_counts": lambda frame, wanted: {
        str(CAMERAS.index(name)): len(labels) for name, labels in frame.projected_labels.items()
    },
    "images": told_pictures,
}
SCENARIO_PARTS: dict[str, Callable[[MotionScenario], Any]] = {
    "scenario_id": lambda scenario: scenario.id,
    "num_timestamps": lambda scenario: len(scenario.times_s),
    "current_time_index": lambda scenario: scenario.current_step,
    "num_tracks": lambda scenario: len(scenario.track_ids),
}
CHECKS: dict[tuple[str, str], Callable[[Path, Path], None]] = {
    ("waymo_synthetic_frame", ".tfrecord"): check_points,
    ("waymo_pvps_frame", ".json"): check_frame,
    ("waymo_scenario_map", ".json"): check_map,
}
