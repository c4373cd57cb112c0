"""A small Waymo segment in both formats: what needs files can be tested without a download.

Sizes and numbers are made up and small; what a real frame has is there: five lasers with two returns, poses of pixels,
labels of points, pictures, boxes, a no-label zone and, in the first frame, a map.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.spatial.transform import Rotation

from perception.datasets.waymo.records import write_records
from perception.datasets.waymo.schema import Frame, MatrixFloat, MatrixInt32
from perception.datasets.waymo_open import WaymoDataset, build_waymo_index

SEGMENT = "1005081002024129653_5313_150_5333_150"
START_MICROS, STEP_MICROS = 1_510_593_600_000_000, 100_000
LASERS, CAMERAS = ("TOP", "FRONT", "SIDE_LEFT", "SIDE_RIGHT", "REAR"), ("FRONT", "FRONT_LEFT", "SIDE_RIGHT")
CAMERA_NUMBERS = {"FRONT": 1, "FRONT_LEFT": 2, "FRONT_RIGHT": 3, "SIDE_LEFT": 4, "SIDE_RIGHT": 5}
LASER_MOUNTS = ((1.4, 0.0, 2.2, 2.6), (4.1, 0.0, 0.7, 0.1), (3.2, 1.0, 0.9, 1.5), (3.2, -1.0, 0.9, -1.6),
                (-1.2, 0.0, 0.5, 3.1))                                  # x, y, z [m], yaw [rad]
CAMERA_YAWS = {"FRONT": 0.0, "FRONT_LEFT": 0.8, "SIDE_RIGHT": -1.6}
PICTURE = (12, 8)                                                       # width, height [pixels]
SHAPES = {"TOP": (4, 12)}
SMALL = (3, 5)                                                          # rows, columns of the other lasers
ZONE = ((4990.0, -3010.0), (5010.0, -3010.0), (5010.0, -2990.0))        # global frame [m]


def pose_at(step: float) -> np.ndarray:
    """(4, 4) vehicle -> global: at 10 m/s along a bend, far from the origin."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("zyx", [0.6 + 0.02 * step, 0.01, -0.02]).as_matrix()
    pose[:3, 3] = 5000.0 + step, -3000.0 + 0.3 * step, 21.0
    return pose


def frame(step: int = 0, segment: str = SEGMENT, labelled_points: bool = True) -> Frame:
    """One frame of a segment; its numbers come from the step alone."""
    rng = np.random.default_rng(step)
    made = Frame(timestamp_micros=START_MICROS + STEP_MICROS * step)
    made.context.name = segment
    made.context.stats.location = "location_sf"
    made.pose.transform.extend(pose_at(step + 0.5).ravel())
    _add_calibrations(made)
    for number in (3, 1, 2, 5, 4):                                      # lasers stand in any order
        _add_laser(made, number, step, rng, labelled_points)
    for name in CAMERAS:
        picture = made.images.add(name=CAMERA_NUMBERS[name], image=jpeg(step, CAMERA_NUMBERS[name]))
        picture.pose.transform.extend(pose_at(step + 0.4).ravel())
        picture.pose_timestamp = (made.timestamp_micros + 40_000) * 1e-6
    _add_labels(made, step)
    zone = made.no_label_zones.add(id="zone")
    zone.x.extend(x for x, _ in ZONE)
    zone.y.extend(y for _, y in ZONE)
    if step == 0:
        _add_map(made)
    return made


def jpeg(step: int, camera: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((PICTURE[1], PICTURE[0], 3), (40 * camera + step) % 256, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def _add_calibrations(made: Frame) -> None:
    for name in CAMERAS:
        camera = made.context.camera_calibrations.add(name=CAMERA_NUMBERS[name], width=PICTURE[0], height=PICTURE[1])
        camera.intrinsic.extend([20.0, 21.0, 6.0, 4.0, 0.04, -0.3, 0.001, -0.002, 0.0])
        camera.extrinsic.transform.extend(mount(1.5, 0.1, 2.1, CAMERA_YAWS[name]).ravel())
        camera.rolling_shutter_direction = 2
    for number, place in enumerate(LASER_MOUNTS, start=1):
        laser = made.context.laser_calibrations.add(name=number, beam_inclination_min=-1.5, beam_inclination_max=0.5)
        laser.extrinsic.transform.extend(mount(*place).ravel())
        if number == 1:
            laser.beam_inclinations.extend([-0.3, -0.2, -0.05, 0.04])


def mount(x: float, y: float, z: float, yaw: float) -> np.ndarray:
    """(4, 4) sensor -> vehicle."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("z", yaw).as_matrix()
    pose[:3, 3] = x, y, z
    return pose


def _add_laser(made: Frame, number: int, step: int, rng: np.random.Generator, labelled: bool) -> None:
    laser = made.lasers.add(name=number)
    H, W = SHAPES.get(LASERS[number - 1], SMALL)
    for place, image in enumerate((laser.ri_return1, laser.ri_return2)):
        values = rng.uniform(0.0, 30.0, (H, W, 4)).astype(np.float32)
        values[..., 0] = np.where(rng.random((H, W)) < 0.3 + 0.3 * place, -1.0, values[..., 0] + 1.0)
        values[..., 1:3] /= 20.0
        values[..., 3] = np.where(rng.random((H, W)) < 0.2, 1.0, -1.0)
        image.range_image_compressed = packed(MatrixFloat, values)
        image.camera_projection_compressed = packed(MatrixInt32, rng.integers(0, 8, (H, W, 6)))
        if number == 1:
            if place == 0:
                image.range_image_pose_compressed = packed(MatrixFloat, _pixel_poses(step, H, W))
            if labelled:
                labels = np.stack([rng.integers(0, 4, (H, W)), rng.integers(0, 23, (H, W))], axis=-1)
                image.segmentation_label_compressed = packed(MatrixInt32, labels)


def _pixel_poses(step: int, H: int, W: int) -> np.ndarray:
    """(H, W, 6) float32 roll, pitch, yaw, x, y, z of the vehicle while it turns once."""
    poses = np.empty((H, W, 6), np.float32)
    for column in range(W):
        pose = pose_at(step + column / W)
        poses[:, column, :3] = Rotation.from_matrix(pose[:3, :3]).as_euler("xyz")
        poses[:, column, 3:] = pose[:3, 3]
    return poses


def packed(kind: Any, values: np.ndarray) -> bytes:
    """A matrix as it stands in a range image."""
    matrix = kind(data=values.ravel().tolist())
    matrix.shape.dims.extend(values.shape)
    return zlib.compress(matrix.SerializeToString())


def _add_labels(made: Frame, step: int) -> None:
    """A car that drives along the global x axis, a pedestrian, a sign and a cyclist that stand."""
    vehicle_from_global = np.linalg.inv(pose_at(step + 0.5))
    for kind, name, place, speed in (
        (1, "car", (5020.0 + 0.8 * step, -2995.0, 22.0), (8.0, 0.0)),
        (2, "walker", (5012.0, -3004.0, 22.0), (0.0, 0.0)),
        (3, "sign", (5015.0, -3001.0, 23.0), (0.0, 0.0)),
        (4, "rider", (5003.0, -2996.0, 22.0), (0.0, 0.0)),
    ):
        label = made.laser_labels.add(type=kind, id=f"{name}-id", num_lidar_points_in_box=3 * kind + step)
        label.num_top_lidar_points_in_box = 2 * kind
        label.box.center_x, label.box.center_y, label.box.center_z = (vehicle_from_global @ [*place, 1.0])[:3]
        label.box.length, label.box.width, label.box.height = 4.0 + kind, 1.5 + 0.1 * kind, 1.2 + 0.2 * kind
        label.box.heading = -0.6 - 0.02 * (step + 0.5)                  # about along the global x axis
        label.metadata.speed_x, label.metadata.speed_y = speed          # given in the global frame
        if kind == 2:
            label.detection_difficulty_level = 2


def _add_map(made: Frame) -> None:
    made.map_pose_offset.x, made.map_pose_offset.y, made.map_pose_offset.z = 100.0, -50.0, 1.0
    for number, kind, points in (
        (1, "road_edge", [(x, -2993.0) for x in (5050.0, 4950.0)]),     # road to the left, as Waymo runs them
        (2, "road_edge", [(x, -3007.0) for x in (4950.0, 5050.0)]),
        (3, "road_line", [(x, -3000.0) for x in (4950.0, 5000.0, 5050.0)]),
        (4, "road_line", [(x, -3006.8) for x in (4950.0, 5050.0)]),     # paint along the edge
        (5, "crosswalk", [(5010.0, -3007.0), (5014.0, -3007.0), (5014.0, -2993.0), (5010.0, -2993.0)]),
        (6, "lane", [(x, -2996.5) for x in (5050.0, 4950.0)]),
    ):
        feature = made.map_features.add(id=number)
        part = getattr(feature, kind)
        points_of = part.polygon if kind == "crosswalk" else part.polyline
        for x, y in points:
            points_of.add(x=x - 100.0, y=y + 50.0, z=20.0 - 1.0)
        if kind != "crosswalk":
            part.type = 1


def write_v1(root: Path, frames: Sequence[Frame], split: str = "training") -> Path:
    """The frames of a segment as a TFRecord."""
    path = root / split / f"segment-{frames[0].context.name}_with_camera_labels.tfrecord"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_records(path, [entry.SerializeToString() for entry in frames])
    return path


def write_v2(root: Path, frames: Sequence[Frame], split: str = "training", rows_per_group: int = 7) -> Path:
    """The frames of a segment as one Parquet file a component; gives the folder of the split."""
    for component, rows in components_of(frames).items():
        path = root / split / component / f"{frames[0].context.name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist([{"index": f"{place}", **row} for place, row in enumerate(rows)])
        pq.write_table(table, path, row_group_size=rows_per_group)
    return root / split


def components_of(frames: Sequence[Frame]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each component that hold what the frames hold."""
    rows: dict[str, list[dict[str, Any]]] = {
        "vehicle_pose": [
            {**_key(entry), **_named("VehiclePoseComponent", {"world_from_vehicle.transform": [*entry.pose.transform]})}
            for entry in frames
        ],
        "camera_calibration": [_camera_calibration(frames[0], camera)
                               for camera in frames[0].context.camera_calibrations],
        "lidar_calibration": [_lidar_calibration(frames[0], laser) for laser in frames[0].context.laser_calibrations],
        "lidar_box": [_lidar_box(entry, label) for entry in frames for label in entry.laser_labels],
        "camera_image": [_camera_image(entry, picture) for entry in frames for picture in entry.images],
        "lidar": [], "lidar_camera_projection": [], "lidar_pose": [], "lidar_segmentation": [],
    }
    for entry in frames:
        for laser in entry.lasers:
            _add_range_images(rows, entry, laser)
    return {name: entries for name, entries in rows.items() if entries}


def _key(entry: Frame, timed: bool = True, **more: Any) -> dict[str, Any]:
    times = {"key.frame_timestamp_micros": entry.timestamp_micros} if timed else {}
    return {"key.segment_context_name": entry.context.name, **times,
            **{f"key.{name}": value for name, value in more.items()}}


def _named(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"[{kind}].{name}": value for name, value in values.items()}


def _camera_calibration(entry: Frame, camera: Any) -> dict[str, Any]:
    names = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
    return {**_key(entry, timed=False, camera_name=camera.name), **_named("CameraCalibrationComponent", {
        **{f"intrinsic.{name}": value for name, value in zip(names, camera.intrinsic, strict=True)},
        "extrinsic.transform": [*camera.extrinsic.transform], "width": camera.width, "height": camera.height,
        "rolling_shutter_direction": camera.rolling_shutter_direction,
    })}


def _lidar_calibration(entry: Frame, laser: Any) -> dict[str, Any]:
    return {**_key(entry, timed=False, laser_name=laser.name), **_named("LiDARCalibrationComponent", {
        "extrinsic.transform": [*laser.extrinsic.transform], "beam_inclination.min": laser.beam_inclination_min,
        "beam_inclination.max": laser.beam_inclination_max,
        "beam_inclination.values": [*laser.beam_inclinations] or None,
    })}


def _lidar_box(entry: Frame, label: Any) -> dict[str, Any]:
    box, metadata = label.box, label.metadata
    speeds = {axis: getattr(metadata, f"speed_{axis}") for axis in "xyz"}
    accelerations = {axis: getattr(metadata, f"accel_{axis}") for axis in "xyz"}
    return {**_key(entry, laser_object_id=label.id), **_named("LiDARBoxComponent", {
        "box.center.x": box.center_x, "box.center.y": box.center_y, "box.center.z": box.center_z,
        "box.size.x": box.length, "box.size.y": box.width, "box.size.z": box.height, "box.heading": box.heading,
        "type": label.type, "num_lidar_points_in_box": label.num_lidar_points_in_box,
        "num_top_lidar_points_in_box": label.num_top_lidar_points_in_box,
        **{f"speed.{axis}": value for axis, value in speeds.items()},
        **{f"acceleration.{axis}": value for axis, value in accelerations.items()},
        "difficulty_level.detection": label.detection_difficulty_level,
        "difficulty_level.tracking": label.tracking_difficulty_level,
    })}


def _camera_image(entry: Frame, picture: Any) -> dict[str, Any]:
    return {**_key(entry, camera_name=picture.name), **_named("CameraImageComponent", {
        "image": picture.image, "pose.transform": [*picture.pose.transform], "pose_timestamp": picture.pose_timestamp,
    })}


def _add_range_images(rows: dict[str, list[dict[str, Any]]], entry: Frame, laser: Any) -> None:
    key = _key(entry, laser_name=laser.name)
    for component, kind, field, matrix, dtype in (
        ("lidar", "LiDARComponent", "range_image_compressed", MatrixFloat, np.float32),
        ("lidar_camera_projection", "LiDARCameraProjectionComponent", "camera_projection_compressed", MatrixInt32,
         np.float32),
        ("lidar_pose", "LiDARPoseComponent", "range_image_pose_compressed", MatrixFloat, np.float32),
        ("lidar_segmentation", "LiDARSegmentationLabelComponent", "segmentation_label_compressed", MatrixInt32,
         np.int32),
    ):
        images = {f"range_image_return{place}": getattr(image, field)
                  for place, image in ((1, laser.ri_return1), (2, laser.ri_return2)) if getattr(image, field)}
        if images:
            rows[component].append({**key, **_named(kind, dict(_unpacked(images, matrix, dtype)))})


def _unpacked(images: dict[str, bytes], kind: Any, dtype: Any) -> Iterable[tuple[str, Any]]:
    for name, content in images.items():
        matrix = kind.FromString(zlib.decompress(content))
        yield f"{name}.values", np.array(matrix.data, dtype)
        yield f"{name}.shape", np.array(matrix.shape.dims, np.int32)


def opened(root: Path, split: str = "train", **options: Any) -> WaymoDataset:
    """A split over an index that is made for it."""
    build_waymo_index(root, split)
    return WaymoDataset(root, split=split, **options)
