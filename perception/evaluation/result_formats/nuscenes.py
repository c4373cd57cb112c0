"""nuScenes' results file: one JSON file, boxes in global coordinates by sample token.

What its boxes have beyond ours, the tilt against the ego frame and the attribute, is not kept: boxes are written
upright on the vehicle's ground, with the attribute that objects of the class have as a rule at their speed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from perception.errors import ConfigError, DataError
from perception.structures import SE3, Boxes3D, NuScenesRows

from ..detection.nuscenes_boxes import NuScenesBoxes
from ..detection.nuscenes_files import read_nuscenes_boxes
from ..nuscenes_results import DETECTION_NAMES, MAX_BOXES_PER_SAMPLE, write_nuscenes_results
from ..nuscenes_root import read_table
from .frame_results import FramePlace, FrameResults, FrameSource, read_places

CLASSES = DETECTION_NAMES
LIDAR = "LIDAR_TOP"


def read(path: Path, source: FrameSource) -> list[FrameResults]:
    """The detections of every sample of the file, in its order.

    Raises:
        ConfigError: neither a root nor a file of places says where the vehicle was.
        DataError: the file or the root is absent or malformed, or a sample is unknown.
    """
    results, _ = read_nuscenes_boxes(path)
    numbers = np.concatenate([results.translation, results.size, results.rotation], axis=1)       # (N, 10)
    wrong = ~np.isfinite(numbers).all(axis=1) | ~np.isfinite(results.score) | (results.size < 0).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        where = f"a box of sample {results.tokens[results.sample[row]]}"
        raise DataError(path, where, "finite numbers and sizes >= 0", numbers[row].tolist())
    if results.owner is not None:
        raise DataError(path, "sample_token", "the sample that lists the box", "another in at least one box")
    places = _places(path, source, results.tokens)
    return [_frame(path, places[token], results, number) for number, token in enumerate(results.tokens)]


def write(frames: Iterable[FrameResults], path: Path) -> list[str]:
    """Write the results file; returns what a reader should know.

    Raises:
        ValueError: a frame has no pose or a score outside [0, 1].
    """
    given = list(frames)
    crowded = [len(frame.predictions) for frame in given if len(frame.predictions) > MAX_BOXES_PER_SAMPLE]
    write_nuscenes_results((frame.predictions for frame in given), path)
    if not crowded:
        return []
    lost = sum(crowded) - MAX_BOXES_PER_SAMPLE * len(crowded)
    return [f"left out {lost} boxes of {len(crowded)} frames beyond the {MAX_BOXES_PER_SAMPLE} best of each"]


def places_of_root(root: Path, version: str, tokens: Sequence[str]) -> dict[str, FramePlace]:
    """Place of the vehicle at the LiDAR's time of some samples.

    Raises:
        DataError: a table is absent or malformed, or has no such sample.
    """
    tables, wanted = root / version, set(tokens)
    if not tables.is_dir():
        raise DataError(root, version, "a folder with the tables of that version", "no such folder")
    try:
        scene_of = {
            record["token"]: record["scene_token"] for record in read_table(tables, "sample")
            if record["token"] in wanted
        }
        names = {record["token"]: record["name"] for record in read_table(tables, "scene")}
        lidar = _lidar_keyframes(tables, wanted)
        of_poses = {pose for _, pose in lidar.values()}
        poses = {
            record["token"]: SE3.from_quaternion(record["rotation"], record["translation"])
            for record in read_table(tables, "ego_pose") if record["token"] in of_poses
        }
        for token in tokens:
            if token not in scene_of or token not in lidar:
                raise DataError(tables, f"sample {token}", f"a sample with a keyframe of {LIDAR}", "none")
        return {
            token: FramePlace(token, names[scene_of[token]], lidar[token][0], poses[lidar[token][1]])
            for token in tokens
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(tables, "records", "tables of nuScenes", repr(error)) from error


def _lidar_keyframes(tables: Path, samples: set[str]) -> dict[str, tuple[int, str]]:
    """Time [ns] and token of the pose of the LiDAR's keyframe, by sample."""
    sensors = {record["token"] for record in read_table(tables, "sensor") if record["channel"] == LIDAR}
    mounted = {
        record["token"] for record in read_table(tables, "calibrated_sensor") if record["sensor_token"] in sensors
    }
    return {
        record["sample_token"]: (1000 * int(record["timestamp"]), record["ego_pose_token"])
        for record in read_table(tables, "sample_data")
        if record["is_key_frame"] and record["sample_token"] in samples
        and record["calibrated_sensor_token"] in mounted
    }


def _places(path: Path, source: FrameSource, tokens: Sequence[str]) -> Mapping[str, FramePlace]:
    if source.places is None:
        if source.root is None:
            raise ConfigError(f"{path}: nuScenes results are in global coordinates: give the root or a file of places")
        return places_of_root(source.root, source.version, tokens)
    places = read_places(source.places)
    for token in tokens:
        if token not in places or places[token].global_from_ego is None:
            raise DataError(source.places, token, "a frame with its global_from_ego", "none")
    return places


def _frame(path: Path, place: FramePlace, results: NuScenesBoxes, number: int) -> FrameResults:
    own = slice(int(results.offsets[number]), int(results.offsets[number + 1]))
    rows = NuScenesRows(*(
        torch.from_numpy(column[own]) for column in (results.translation, results.size, results.rotation,
                                                     results.velocity)
    ))
    assert place.global_from_ego is not None               # seen by `_places`
    try:
        boxes = Boxes3D.from_nuscenes(rows, place.global_from_ego, dtype=torch.float64)
    except ValueError as error:
        raise DataError(path, f"sample {place.token}", "boxes with unit quaternions", error) from error
    labels = torch.from_numpy(results.label[own].astype(np.int64))
    return place.with_boxes(boxes, torch.from_numpy(results.score[own].copy()), labels, CLASSES)
