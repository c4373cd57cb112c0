"""Results files of all data sets: what is written is read again, and frames, classes and poses come along."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from result_cases import DRIVE, MAX_TILT, assert_same_detections, best_first, one_frame, random_frames

from perception.datasets.kitti import KittiCalibration, read_calibration
from perception.errors import ConfigError
from perception.evaluation.result_formats import argoverse2, kitti, nuscenes, waymo
from perception.evaluation.result_formats.class_partners import PARTNERS, partners_of
from perception.evaluation.result_formats.conversion import convert_results, result_format
from perception.evaluation.result_formats.frame_results import (
    FramePlace,
    FrameResults,
    FrameSource,
    write_places,
)
from perception.evaluation.result_formats.names import FORMATS
from perception.structures import SE3, Boxes3D, Predictions

FILES = {"nuscenes": "results.json", "argoverse2": "detections.feather", "waymo": "objects.bin", "kitti": "kitti"}
frame_counts = st.lists(st.integers(0, 6), min_size=1, max_size=3)


def place_of(frame: FrameResults) -> FramePlace:
    own = frame.predictions
    return FramePlace(own.token, frame.scene, own.timestamp_ns, own.global_from_ego)


# Worked by hand.

def test_a_nuscenes_car_is_placed_in_the_vehicles_frame(tmp_path: Path):
    """The vehicle stands at (100, 200) and looks along +y; the car is 10 m to the east of it and 5 m to the north."""
    row = {
        "sample_token": "a", "translation": [110.0, 205.0, 1.0], "size": [2.0, 4.0, 1.5],
        "rotation": [math.cos(math.pi / 4), 0.0, 0.0, math.sin(math.pi / 4)], "velocity": [0.0, 3.0],
        "detection_name": "car", "detection_score": 0.5, "attribute_name": "vehicle.moving",
    }
    (tmp_path / "results.json").write_text(json.dumps({"meta": {}, "results": {"a": [row]}}))
    pose = SE3.about_z(math.pi / 2, (100.0, 200.0, 0.0))
    places = write_places(tmp_path / "places.json", {"a": FramePlace("a", DRIVE, 100_000, pose)})
    (frame,) = nuscenes.read(tmp_path / "results.json", FrameSource(places=places))
    wanted = torch.tensor([[5.0, -10.0, 1.0, 4.0, 2.0, 1.5, 0.0, 3.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(frame.predictions.boxes.tensor, wanted, rtol=0, atol=1e-9)
    assert (frame.scene, frame.predictions.timestamp_ns) == (DRIVE, 100_000)


def test_a_car_ahead_stands_on_the_ground_of_a_level_camera(tmp_path: Path):
    """10 m ahead and 2 m to the left: x = -2, z = 10, and the road is 1.73 m below the camera."""
    frame = one_frame([[10.0, 2.0, 0.75, 4.0, 2.0, 1.5, 0.0]], ["Car"], kitti.CLASSES, None)
    kitti.write([frame], tmp_path / "out")
    (line,) = (tmp_path / "out/data/000000.txt").read_text().splitlines()
    numbers = [float(word) for word in line.split()[1:]]
    assert line.startswith("Car -1 -1 ")
    assert numbers[3:7] == [-1.0] * 4
    assert numbers[7:] == pytest.approx([1.5, 2.0, 4.0, -2.0, 1.73, 10.0, -math.pi / 2, 0.9], abs=1e-6)


def test_the_rectangle_of_a_box_is_around_its_corners_in_the_picture():
    """A camera of focal length 700 at the Velodyne; the nearest face is 8 m away, 2 m wide and 1 m high."""
    projection = torch.tensor([[700.0, 0, 600, 0], [0, 700, 180, 0], [0, 0, 1, 0]], dtype=torch.float64)
    camera = KittiCalibration(kitti.LEVEL.lidar_from_camera0, projection)
    boxes = Boxes3D(torch.tensor([[10.0, 0, 0, 4, 2, 1, 0], [-10, 0, 0, 4, 2, 1, 0]], dtype=torch.float64))
    edges = kitti.rectangles(boxes, camera)
    wanted = [600 - 700 / 8, 180 - 350 / 8, 600 + 700 / 8, 180 + 350 / 8]
    torch.testing.assert_close(edges, torch.tensor([wanted, [-1.0] * 4], dtype=torch.float64))


def test_kittis_own_frame_keeps_its_number_and_camera(shared_data: Path, tmp_path: Path):
    """The labels of frame 000008, scored: read in the vehicle's frame and written in the camera's again."""
    root = shared_data / "kitti/object_root"
    (tmp_path / "results").mkdir()
    lines = (root / "training/label_2/000008.txt").read_text().splitlines()
    scored = [f"{line} {0.9 - 0.05 * number}" for number, line in enumerate(lines)]
    (tmp_path / "results/000008.txt").write_text("\n".join(scored))
    frames = kitti.read(tmp_path / "results", FrameSource(root))
    kitti.write(frames, tmp_path / "out")

    objects = [line.split() for line in scored if not line.startswith("DontCare")]
    written = [line.split() for line in (tmp_path / "out/data/000008.txt").read_text().splitlines()]
    assert [line[0] for line in written] == [line[0] for line in objects]
    for own, other in zip(written, objects, strict=True):
        # Six decimals, and rotations in the file that are orthonormal to some 1e-8 only, at 33 m.
        assert [*map(float, own[8:15])] == pytest.approx([*map(float, other[8:15])], abs=3e-6)
        # Rectangles of labels are drawn by hand around what is seen, at most to the edge of the picture.
        assert float(own[5]) == pytest.approx(float(other[5]), abs=8)
    calibration = read_calibration(tmp_path / "out/calib/000008.txt")
    expected = read_calibration(root / "training/calib/000008.txt")
    torch.testing.assert_close(
        calibration.lidar_from_camera0.matrix(), expected.lidar_from_camera0.matrix(), rtol=0, atol=1e-8
    )


# Round trips.

@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), frame_counts)
def test_nuscenes_round_trip(tmp_path_factory: pytest.TempPathFactory, seed: int, counts: list[int]):
    folder = tmp_path_factory.mktemp("nuscenes")
    frames = random_frames(seed, counts, nuscenes.CLASSES)
    nuscenes.write(frames, folder / "results.json")
    places = write_places(folder / "places.json", {frame.predictions.token: place_of(frame) for frame in frames})
    back = nuscenes.read(folder / "results.json", FrameSource(places=places))
    assert [place_of(frame).token for frame in back] == [place_of(frame).token for frame in frames]
    for own, other in zip(back, frames, strict=True):
        # float64 at some kilometres; headings go to the ground and back, which costs at most the tilt squared.
        assert_same_detections(own.predictions, other.predictions, atol=1e-8, yaw_atol=MAX_TILT**2)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), frame_counts)
def test_argoverse2_round_trip(tmp_path_factory: pytest.TempPathFactory, seed: int, counts: list[int]):
    path = tmp_path_factory.mktemp("argoverse2") / "detections.feather"
    frames = random_frames(seed, counts, argoverse2.CLASSES, columns=7)
    notes = argoverse2.write(frames, path)
    back = argoverse2.read(path, FrameSource())
    kept = [frame for frame in frames if len(frame.predictions)]
    assert (notes == []) == (len(kept) == len(frames))
    assert [(own.scene, own.predictions.timestamp_ns) for own in back] == [
        (frame.scene, frame.predictions.timestamp_ns) for frame in kept
    ]
    for own, other in zip(back, kept, strict=True):
        assert_same_detections(own.predictions, other.predictions, atol=1e-12)      # a quaternion between


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 6), min_size=1, max_size=3), st.sampled_from([7, 9]))
def test_waymo_round_trip(tmp_path_factory: pytest.TempPathFactory, seed: int, counts: list[int], columns: int):
    path = tmp_path_factory.mktemp("waymo") / "objects.bin"
    frames = random_frames(seed, counts, waymo.CLASSES, columns=columns)
    assert waymo.write(frames, path) == []
    for own, other in zip(waymo.read(path, FrameSource()), frames, strict=True):
        assert own.predictions.timestamp_ns == other.predictions.timestamp_ns
        # Boxes are doubles there; scores are float32, whose steps below 1 are 6e-8.
        assert_same_detections(own.predictions, other.predictions, atol=1e-12, score_atol=6e-8)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), frame_counts)
def test_kitti_round_trip(tmp_path_factory: pytest.TempPathFactory, seed: int, counts: list[int]):
    folder = tmp_path_factory.mktemp("kitti") / "out"
    frames = random_frames(seed, counts, kitti.CLASSES, columns=7)
    kitti.write(frames, folder)
    back = kitti.read(folder, FrameSource())
    for own, other in zip(back, frames, strict=True):
        assert (own.predictions.token, own.scene) == (other.predictions.token, other.scene)
        torch.testing.assert_close(
            own.predictions.global_from_ego.matrix(), other.predictions.global_from_ego.matrix(), rtol=0, atol=1e-9
        )
        # Six decimals; the centre adds half a rounded height to a rounded place.
        assert_same_detections(own.predictions, other.predictions, atol=1e-6, score_atol=5e-7)


@pytest.mark.parametrize("other", ["argoverse2", "waymo", "kitti"])
def test_nuscenes_results_come_back_from_every_other_format(tmp_path: Path, other: str):
    classes = {"argoverse2": ("car", "pedestrian", "bus"), "waymo": ("car", "pedestrian", "bicycle")}
    frames = random_frames(3, [4, 1, 5], nuscenes.CLASSES, columns=7, tilt=0.0)
    named = classes.get(other, ("car", "truck", "bicycle"))
    labels = torch.tensor([nuscenes.CLASSES.index(name) for name in named])
    frames = [
        place_of(frame).with_boxes(
            frame.predictions.boxes, frame.predictions.scores, labels[frame.predictions.labels % 3], nuscenes.CLASSES
        )
        for frame in frames
    ]
    nuscenes.write(frames, tmp_path / "start.json")
    places = {frame.predictions.token: place_of(frame) for frame in frames}
    there = FrameSource(places=write_places(tmp_path / "places.json", places))
    convert_results(tmp_path / "start.json", tmp_path / FILES[other], "nuscenes", other, source=there)
    divisor = {"argoverse2": 1, "waymo": 1000}.get(other)
    back = FrameSource() if divisor is None else FrameSource(places=write_places(
        tmp_path / "back.json", {f"{DRIVE}/{place.timestamp_ns // divisor}": place for place in places.values()}
    ))
    done = convert_results(tmp_path / FILES[other], tmp_path / "end.json", other, "nuscenes", source=back)
    assert (done.frames, done.boxes, done.dropped) == (3, 10, {})
    for own, start in zip(nuscenes.read(tmp_path / "end.json", there), frames, strict=True):
        wanted = start.predictions
        assert own.predictions.names() == best_first(wanted).names()
        # Six decimals of KITTI's files; an unknown velocity is written as 0.
        assert_same_detections(own.predictions, at_rest(wanted), atol=3e-6, score_atol=5e-7)


def at_rest(predictions: Predictions) -> Predictions:
    boxes = torch.cat([predictions.boxes.tensor, torch.zeros(len(predictions), 2, dtype=torch.float64)], dim=1)
    return replace(predictions, boxes=Boxes3D(boxes))


def test_poses_of_an_argoverse2_log_make_nuscenes_results(shared_data: Path, tmp_path: Path):
    split_dir = shared_data / "argoverse2/sensor/val"
    log = sorted(folder.name for folder in split_dir.iterdir())[0]
    table = pd.read_feather(split_dir / log / "annotations.feather")
    time = int(table["timestamp_ns"].iloc[0])
    rows = table[table["timestamp_ns"] == time].reset_index(drop=True)
    rows = rows.assign(log_id=log, score=np.linspace(0.9, 0.1, len(rows)))
    rows.to_feather(tmp_path / "detections.feather")
    convert_results(
        tmp_path / "detections.feather", tmp_path / "results.json", "argoverse2", "nuscenes",
        source=FrameSource(split_dir), drop_unmatched=True,
    )
    content = json.loads((tmp_path / "results.json").read_text())
    (boxes,) = content["results"].values()
    poses = pd.read_feather(split_dir / log / "city_SE3_egovehicle.feather")
    pose = poses[poses["timestamp_ns"] == time].iloc[0]
    columns = (["qw", "qx", "qy", "qz"], ["tx_m", "ty_m", "tz_m"])
    city_from_ego = SE3.from_quaternion(*(pose[names].tolist() for names in columns))
    first = rows[rows["category"].isin(PARTNERS["argoverse2", "nuscenes"])].iloc[0]
    center = torch.tensor(first[["tx_m", "ty_m", "tz_m"]].tolist(), dtype=torch.float64)
    assert boxes[0]["translation"] == pytest.approx(city_from_ego.apply(center).tolist(), abs=1e-6)


# Classes.

def test_every_pair_of_formats_has_partners_of_known_classes():
    for own in FORMATS:
        for other in FORMATS:
            if own != other:
                for name, partner in PARTNERS[own, other].items():
                    assert name in result_format(own).CLASSES, (own, name)
                    assert partner in result_format(other).CLASSES, (other, partner)


def test_partners_that_are_named_go_before_the_table():
    table = partners_of("kitti", "waymo", kitti.CLASSES, waymo.CLASSES, {"Tram": "VEHICLE", "Van": ""})
    assert table["Tram"] == "VEHICLE"
    assert "Van" not in table
    with pytest.raises(ConfigError, match=r'kitti has no class "Vann" \(did you mean "Van"'):
        partners_of("kitti", "waymo", kitti.CLASSES, waymo.CLASSES, {"Vann": "VEHICLE"})
    with pytest.raises(ConfigError, match='waymo has no class "car"'):
        partners_of("kitti", "waymo", kitti.CLASSES, waymo.CLASSES, {"Van": "car"})


def test_boxes_without_a_partner_are_an_error_or_counted(tmp_path: Path):
    rows = [[float(10 + i), 0.0, 0.0, 1.0, 1.0, 1.0, 0.0] for i in range(3)]
    waymo.write([one_frame(rows, ["VEHICLE", "SIGN", "SIGN"], waymo.CLASSES, None)], tmp_path / "objects.bin")
    convert = (tmp_path / "objects.bin", tmp_path / "out", "waymo", "kitti")
    with pytest.raises(ConfigError, match=r"2 boxes have classes without a partner in kitti: SIGN \(2\)"):
        convert_results(*convert)
    assert not (tmp_path / "out").exists()
    done = convert_results(*convert, drop_unmatched=True)
    assert (done.boxes, dict(done.dropped)) == (1, {"SIGN": 2})
    assert len((tmp_path / "out/data/000000.txt").read_text().splitlines()) == 1
