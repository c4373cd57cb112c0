"""Small MCAP files and nuScenes roots, written for one test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.LocationFix_pb2 import LocationFix
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from foxglove_schemas_protobuf.PoseInFrame_pb2 import PoseInFrame
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
from mcap_protobuf.writer import Writer

FIELD_NUMBER = {"u1": 1, "u2": 3, "f4": 7, "f8": 8}
SECOND = 1_000_000_000


def write_mcap(path: Path, messages: Sequence[tuple[str, float, Any]]) -> Path:
    """Write (topic, log time [s], message) in the given order."""
    with open(path, "wb") as file, Writer(file) as writer:
        for topic, time, message in messages:
            writer.write_message(topic, message, log_time=round(time * SECOND), publish_time=round(time * SECOND))
    return path


def stamped(message: Any, time: float) -> Any:
    """The message with its own time [s]."""
    nanoseconds = round(time * SECOND)
    message.timestamp.seconds, message.timestamp.nanos = divmod(nanoseconds, SECOND)
    return message


def cloud(time: float, rows: Sequence[Sequence[float]], frame: str = "lidar", **formats: str) -> PointCloud:
    """Points with the columns x, y, z (float32) and those of ``formats``, such as ``intensity="u1"``."""
    layout = np.dtype([(name, f"<{kind}") for name, kind in {"x": "f4", "y": "f4", "z": "f4", **formats}.items()])
    data = np.array([tuple(row) for row in rows], dtype=layout)
    message = PointCloud(frame_id=frame, point_stride=layout.itemsize, data=data.tobytes())
    for name in layout.names or ():
        kind, offset = layout.fields[name]                 # type: ignore[index]  # it has fields
        message.fields.append(PackedElementField(name=name, offset=offset, type=FIELD_NUMBER[kind.str[1:]]))
    return stamped(message, time)


def transform(
    time: float, parent: str, child: str, xyz: Sequence[float], wxyz: Sequence[float] = (1, 0, 0, 0)
) -> FrameTransform:
    message = FrameTransform(parent_frame_id=parent, child_frame_id=child)
    message.translation.x, message.translation.y, message.translation.z = xyz
    message.rotation.w, message.rotation.x, message.rotation.y, message.rotation.z = wxyz
    return stamped(message, time)


def calibration(time: float, **matrices: Any) -> CameraCalibration:
    """Of the frame "camera", 8 x 6 pixels."""
    intrinsics = [10.0, 0, 4, 0, 10, 3, 0, 0, 1]
    fields = {"K": intrinsics, "R": np.eye(3).ravel().tolist(), **matrices}
    return stamped(CameraCalibration(frame_id="camera", width=8, height=6, **fields), time)


def jpeg(time: float, frame: str = "camera", size: tuple[int, int] = (8, 6)) -> CompressedImage:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 0, 0)).save(buffer, format="JPEG")
    return stamped(CompressedImage(frame_id=frame, data=buffer.getvalue(), format="jpeg"), time)


def raw_image(time: float, data: bytes, encoding: str, step: int, size: tuple[int, int] = (2, 1)) -> RawImage:
    message = RawImage(frame_id="camera", width=size[0], height=size[1], encoding=encoding, step=step, data=data)
    return stamped(message, time)


def boxes(time: float, ids: Sequence[str], frame: str = "lidar", lifetime: float = 0.0, x: float = 5.0) -> SceneUpdate:
    """Cars of 4 x 2 x 1.5 m at (x, 0, 0)."""
    update = SceneUpdate()
    for name in ids:
        entity = stamped(update.entities.add(id=name, frame_id=frame), time)
        entity.lifetime.seconds, entity.lifetime.nanos = divmod(round(lifetime * SECOND), SECOND)
        entity.metadata.add(key="category", value="car")
        cube = entity.cubes.add()
        cube.pose.position.x, cube.pose.orientation.w = x, 1.0
        cube.size.x, cube.size.y, cube.size.z = 4.0, 2.0, 1.5
    return update


def deletion(time: float, name: str | None) -> SceneUpdate:
    """The end of one entity, or of all."""
    update = SceneUpdate()
    stamped(update.deletions.add(type=1 if name is None else 0, id=name or ""), time)
    return update


def position(time: float, latitude: float, longitude: float, altitude: float) -> LocationFix:
    return stamped(LocationFix(latitude=latitude, longitude=longitude, altitude=altitude), time)


def pose_in_map(time: float, x: float) -> PoseInFrame:
    message = PoseInFrame(frame_id="map")
    message.pose.position.x, message.pose.orientation.w = x, 1.0
    return stamped(message, time)


def write_nuscenes_scene(root: Path, sweeps: int = 7, keyframe_every: int = 3) -> Path:
    """A root v1.0-mini with scene-0061: sweeps at 20 Hz, the vehicle driving 1 m each, one point 10 m ahead of each.

    Every third sweep is a keyframe without annotations.
    """
    times = [1_000_000_000_000_000 + 50_000 * i for i in range(sweeps)]
    keys = list(range(0, sweeps, keyframe_every))
    (root / "sweeps").mkdir(parents=True)
    data = []
    for i, time in enumerate(times):
        np.array([[0.0, 10.0, 0.0, 255.0, 3.0]], dtype=np.float32).tofile(root / f"sweeps/{i}.pcd.bin")   # y is forward
        data.append({
            "token": f"d{i}", "sample_token": f"s{max(k for k in keys if k <= i)}", "ego_pose_token": f"p{i}",
            "calibrated_sensor_token": "top", "filename": f"sweeps/{i}.pcd.bin", "fileformat": "pcd", "timestamp": time,
            "is_key_frame": i in keys, "width": 0, "height": 0,
            "prev": f"d{i - 1}" if i else "", "next": f"d{i + 1}" if i + 1 < sweeps else "",
        })
    half = 0.5 ** 0.5                                      # the LiDAR's y axis looks ahead
    tables: dict[str, list[dict[str, Any]]] = {
        "sensor": [{"token": "top", "channel": "LIDAR_TOP", "modality": "lidar"}],
        "calibrated_sensor": [{"token": "top", "sensor_token": "top", "camera_intrinsic": [],
                               "translation": [0.0, 0.0, 1.8], "rotation": [half, 0.0, 0.0, -half]}],
        "ego_pose": [{"token": f"p{i}", "timestamp": time, "translation": [float(i), 0.0, 0.0],
                      "rotation": [1.0, 0.0, 0.0, 0.0]} for i, time in enumerate(times)],
        "sample_data": data,
        "sample": [{"token": f"s{k}", "scene_token": "scene", "timestamp": times[k],
                    "prev": f"s{k - keyframe_every}" if k else "",
                    "next": f"s{k + keyframe_every}" if k + keyframe_every < sweeps else ""} for k in keys],
        "scene": [{"token": "scene", "name": "scene-0061", "log_token": "log", "nbr_samples": len(keys),
                   "first_sample_token": "s0", "last_sample_token": f"s{keys[-1]}", "description": ""}],
        "log": [{"token": "log", "location": "boston-seaport"}],
        "map": [{"token": "map", "log_tokens": ["log"], "filename": "mask.png"}],
    }
    (root / "v1.0-mini").mkdir()
    (root / "mask.png").touch()
    for name in (*tables, "attribute", "visibility", "category", "instance", "sample_annotation"):
        (root / "v1.0-mini" / f"{name}.json").write_text(json.dumps(tables.get(name, [])))
    return root
