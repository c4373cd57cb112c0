"""A scene as nuScenes stores it: files of its sweeps and images, and its rows in the tables.

Blobs are written as soon as a moment is simulated; the rows are put together afterwards, in order of time, so that the
threads that simulate may finish in any order. Every token is a hash of names, every file has a fixed byte order and no
date, so the same seed gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..structures import SE3
from .camera import Picture
from .labels import Annotation
from .lidar import Sweep
from .rig import Camera, Rig, default_rig, pose_matrix
from .scene import Scene
from .taxonomy import ATTRIBUTES, CATEGORIES, VISIBILITY_LEVELS, visibility_token

VERSION = "v1.0-trainval"
SWEEPS_PER_KEYFRAME = 5                 # 10 Hz sweeps, 2 Hz keyframes
EPOCH_US = 1_533_000_000_000_000        # 31 July 2018, 01:20 UTC
SCENE_PITCH_US = 60_000_000             # scenes start a minute apart
SCENE_TABLES = ("log", "scene", "sample", "sample_data", "ego_pose", "calibrated_sensor", "sample_annotation",
                "instance", "lidarseg", "panoptic")

Row = dict[str, Any]
Tables = dict[str, list[Row]]


@dataclass(frozen=True)
class SceneLabel:
    """How a scene is called and where its town is put.

    Args:
        name: official scene name.
        number: running number in the city, which sets its time of day.
        namespace: prefix of all its tokens.
        location: official map name.
        shift: x, y [m] added to all global coordinates when they are written.
        description: free text.
    """

    name: str
    number: int
    namespace: str
    location: str
    shift: tuple[float, float] = (0.0, 0.0)
    description: str = "synthetic"

    @property
    def logfile(self) -> str:
        """Name of the log that the scene is all of."""
        return f"synthetic-{self.name}"

    def token(self, *names: object) -> str:
        """32 hexadecimal digits that depend on nothing but the names."""
        return token(self.namespace, self.name, *names)

    def timestamp(self, time: float) -> int:
        """Microseconds of a time since the start of the scene [s]."""
        return EPOCH_US + self.number * SCENE_PITCH_US + round(time * 1e6)


@dataclass(frozen=True, eq=False)
class Moment:
    """What remains of one sweep after its files are written; a keyframe also has images and boxes."""

    index: int
    time: float
    shutter_times: tuple[float, ...] = ()
    annotations: tuple[Annotation, ...] = ()

    @property
    def is_keyframe(self) -> bool:
        """Whether it has images and boxes."""
        return is_keyframe(self.index)


def is_keyframe(sweep: int) -> bool:
    """Every fifth sweep, the first after four others so that it has a past to accumulate."""
    return sweep % SWEEPS_PER_KEYFRAME == SWEEPS_PER_KEYFRAME - 1


def token(*names: object) -> str:
    """32 hexadecimal digits, the same for the same names."""
    return hashlib.sha256("/".join(str(name) for name in names).encode()).hexdigest()[:32]


def lidar_path(label: SceneLabel, channel: str, moment_time: float, keyframe: bool) -> str:
    """File of a sweep below the root, by nuScenes' naming."""
    folder = "samples" if keyframe else "sweeps"
    return f"{folder}/{channel}/{label.logfile}__{channel}__{label.timestamp(moment_time)}.pcd.bin"


def image_path(label: SceneLabel, channel: str, shutter_time: float) -> str:
    """File of an image below the root, by nuScenes' naming."""
    return f"samples/{channel}/{label.logfile}__{channel}__{label.timestamp(shutter_time)}.jpg"


def image_label_path(label: SceneLabel, channel: str, shutter_time: float) -> str:
    """Per-pixel labels (16-bit PNG, category index * 1000 + instance): an addition to nuScenes, in its own folder."""
    return f"image_panoptic/{channel}/{label.logfile}__{channel}__{label.timestamp(shutter_time)}.png"


def write_sweep(root: Path, label: SceneLabel, channel: str, index: int, sweep: Sweep) -> None:
    """The points, and for a keyframe the per-point labels."""
    keyframe = is_keyframe(index)
    _write(root / lidar_path(label, channel, sweep.time, keyframe), sweep.points.astype("<f4").tobytes())
    if keyframe:
        name = label.token("sample_data", channel, index)
        _write(root / f"lidarseg/{VERSION}/{name}_lidarseg.bin", sweep.semantic.astype(np.uint8).tobytes())
        codes = sweep.semantic.astype(np.uint16) * 1000 + sweep.instance.astype(np.uint16)
        packed = io.BytesIO()
        np.savez_compressed(packed, data=codes)                  # numpy dates every member 1980
        _write(root / f"panoptic/{VERSION}/{name}_panoptic.npz", packed.getvalue())


def write_picture(root: Path, label: SceneLabel, camera: Camera, picture: Picture) -> None:
    """The JPEG and, beside the data set proper, the per-pixel labels."""
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(picture.rgb).save(packed, "JPEG", quality=90)
    _write(root / image_path(label, camera.channel, picture.time), packed.getvalue())
    packed = io.BytesIO()
    Image.fromarray(picture.panoptic.astype(np.uint16)).save(packed, "PNG", compress_level=1)
    _write(root / image_label_path(label, camera.channel, picture.time), packed.getvalue())


def scene_tables(scene: Scene, rig: Rig, label: SceneLabel, moments: Sequence[Moment]) -> Tables:
    """All rows that a scene adds to the tables.

    Args:
        scene: the drive.
        rig: its sensors.
        label: names and place.
        moments: one for every sweep, in order of time; a multiple of `SWEEPS_PER_KEYFRAME`.
    """
    tables: Tables = {name: [] for name in SCENE_TABLES}
    keyframes = [moment for moment in moments if moment.is_keyframe]
    tables["log"] = [{"token": label.token("log"), "logfile": label.logfile, "vehicle": "synthetic",
                      "date_captured": "2018-07-31", "location": label.location}]
    tables["scene"] = [{
        "token": label.token("scene"), "log_token": label.token("log"), "nbr_samples": len(keyframes),
        "first_sample_token": label.token("sample", 0), "last_sample_token": label.token("sample", len(keyframes) - 1),
        "name": label.name, "description": label.description,
    }]
    tables["sample"] = [{"token": label.token("sample", number), "timestamp": label.timestamp(moment.time),
                         "scene_token": label.token("scene")} for number, moment in enumerate(keyframes)]
    link(tables["sample"])
    tables["calibrated_sensor"] = _calibration(rig, label)
    _add_lidar_rows(tables, scene, rig, label, moments)
    _add_camera_rows(tables, scene, rig, label, keyframes)
    _add_annotation_rows(tables, scene, label, keyframes)
    return tables


def shared_tables(namespace: str, maps: Iterable[Row]) -> Tables:
    """The tables that all scenes share: categories, attributes, visibility, sensors and maps."""
    rig = default_rig()
    channels = [(rig.lidar.channel, "lidar"), *((camera.channel, "camera") for camera in rig.cameras)]
    return {
        "category": [{"token": token("category", name), "name": name, "description": "", "index": index}
                     for index, name in enumerate(CATEGORIES)],
        "attribute": [{"token": token("attribute", name), "name": name, "description": ""} for name in ATTRIBUTES],
        "visibility": [{"token": str(number), "level": level, "description": f"visible share {level[1:]} percent"}
                       for number, level in enumerate(VISIBILITY_LEVELS, start=1)],
        "sensor": [{"token": token("sensor", name), "channel": name, "modality": kind} for name, kind in channels],
        "map": list(maps),
    }


def write_tables(root: Path, tables: Tables) -> None:
    """Every table as ``<version>/<table>.json``, one row a line."""
    for name, rows in sorted(tables.items()):
        lines = ",\n".join(json.dumps(row, separators=(", ", ": "), allow_nan=False) for row in rows)
        _write(root / VERSION / f"{name}.json", f"[\n{lines}\n]\n".encode())


def link(rows: list[Row]) -> None:
    """Set ``prev`` and ``next`` along rows in order of time; "" at the ends."""
    for number, row in enumerate(rows):
        row["prev"] = rows[number - 1]["token"] if number else ""
        row["next"] = rows[number + 1]["token"] if number + 1 < len(rows) else ""


def _calibration(rig: Rig, label: SceneLabel) -> list[Row]:
    rows = [_mounted(label, rig.lidar.channel, rig.lidar.ego_from_sensor, [])]
    for camera in rig.cameras:
        rows.append(_mounted(label, camera.channel, camera.ego_from_camera, camera.intrinsics.tolist()))
    return rows


def _mounted(label: SceneLabel, channel: str, ego_from_sensor: np.ndarray, intrinsics: list[list[float]]) -> Row:
    return {"token": label.token("calibrated_sensor", channel), "sensor_token": token("sensor", channel),
            "translation": ego_from_sensor[:3, 3].tolist(),
            "rotation": SE3.from_matrix(ego_from_sensor).quaternion().tolist(), "camera_intrinsic": intrinsics}


def _add_lidar_rows(tables: Tables, scene: Scene, rig: Rig, label: SceneLabel, moments: Sequence[Moment]) -> None:
    channel, rows = rig.lidar.channel, []
    for moment in moments:
        rows.append(_sensor_row(label, channel, moment.index, moment.time, moment.is_keyframe))
        rows[-1] |= {"filename": lidar_path(label, channel, moment.time, moment.is_keyframe), "fileformat": "pcd",
                     "width": 0, "height": 0}
        name = rows[-1]["token"]
        tables["ego_pose"].append(_ego_row(scene, label, name, moment.time))
        if moment.is_keyframe:
            for kind, ending in (("lidarseg", "lidarseg.bin"), ("panoptic", "panoptic.npz")):
                tables[kind].append({"token": name, "sample_data_token": name,
                                     "filename": f"{kind}/{VERSION}/{name}_{ending}"})
    link(rows)
    tables["sample_data"] += rows


def _add_camera_rows(tables: Tables, scene: Scene, rig: Rig, label: SceneLabel, keyframes: Sequence[Moment]) -> None:
    for number, camera in enumerate(rig.cameras):
        rows = []
        for moment in keyframes:
            time = moment.shutter_times[number]
            rows.append(_sensor_row(label, camera.channel, moment.index, time, keyframe=True))
            rows[-1] |= {"filename": image_path(label, camera.channel, time), "fileformat": "jpg",
                         "width": camera.width, "height": camera.height}
            tables["ego_pose"].append(_ego_row(scene, label, rows[-1]["token"], time))
        link(rows)
        tables["sample_data"] += rows


def _sensor_row(label: SceneLabel, channel: str, index: int, time: float, keyframe: bool) -> Row:
    """A sweep between two keyframes belongs to the later one, as the devkit's interpolation of boxes expects."""
    name = label.token("sample_data", channel, index)
    return {"token": name, "sample_token": label.token("sample", index // SWEEPS_PER_KEYFRAME), "ego_pose_token": name,
            "calibrated_sensor_token": label.token("calibrated_sensor", channel),
            "timestamp": label.timestamp(time), "is_key_frame": keyframe}


def _ego_row(scene: Scene, label: SceneLabel, name: str, time: float) -> Row:
    pose = pose_matrix(scene.ego, time)
    pose[:2, 3] += label.shift
    return {"token": name, "timestamp": label.timestamp(time), "translation": pose[:3, 3].tolist(),
            "rotation": SE3.from_matrix(pose).quaternion().tolist()}


def _add_annotation_rows(tables: Tables, scene: Scene, label: SceneLabel, keyframes: Sequence[Moment]) -> None:
    """Boxes in order of keyframes; each instance's are chained over the keyframes in which it is annotated."""
    chains: dict[int, list[Row]] = {}
    for number, moment in enumerate(keyframes):
        for annotation in moment.annotations:
            row = _annotation_row(scene, label, number, annotation)
            tables["sample_annotation"].append(row)
            chains.setdefault(annotation.actor, []).append(row)
    for index, rows in sorted(chains.items()):
        link(rows)
        tables["instance"].append({
            "token": rows[0]["instance_token"], "category_token": token("category", scene.actors[index].category),
            "nbr_annotations": len(rows), "first_annotation_token": rows[0]["token"],
            "last_annotation_token": rows[-1]["token"],
        })


def _annotation_row(scene: Scene, label: SceneLabel, sample: int, annotation: Annotation) -> Row:
    actor = scene.actors[annotation.actor]
    x, y, z, yaw = annotation.pose.tolist()
    length, width, height = actor.size
    attribute = actor.attribute(annotation.time)
    return {
        "token": label.token("annotation", sample, actor.instance), "sample_token": label.token("sample", sample),
        "instance_token": label.token("instance", actor.instance),
        "visibility_token": visibility_token(annotation.visible),
        "attribute_tokens": [token("attribute", attribute)] if attribute else [],
        "translation": [round(x + label.shift[0], 4), round(y + label.shift[1], 4), round(z, 4)],
        "size": [float(width), float(length), float(height)],
        "rotation": [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)],
        "num_lidar_pts": annotation.num_returns, "num_radar_pts": 0,
    }


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
