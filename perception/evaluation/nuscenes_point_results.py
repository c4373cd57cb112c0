"""nuScenes' challenges on points, lidarseg and panoptic with tracking: the folder of results, and its scores.

Fong et al., "Panoptic nuScenes", RA-L 2022. A folder has ``lidarseg/SPLIT/TOKEN_lidarseg.bin`` (uint8 class a point) or
``panoptic/SPLIT/TOKEN_panoptic.npz`` (uint16 ``data``, 1000 * class + instance, stuff with instance 0), where TOKEN is
that of the LIDAR_TOP record and points stand as in its scan. Scored are all samples of the split that the data root
holds, whereas the devkit's own entry insists on all scenes of the split; the figures are the same where both run.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.atomic_write import atomic_path, write_json
from perception.datasets.nuscenes_lidarseg import CHALLENGE_CLASSES, CHALLENGE_THINGS, challenge_class_table
from perception.errors import DataError

from .nuscenes_root import open_tables, split_samples
from .segmentation.lidar_panoptic import INSTANCE_FACTOR, MIN_POINTS, LidarPanopticQuality, LidarPanopticScores
from .segmentation.lidar_tracking import LidarPanopticTracking, LidarTrackingScores
from .segmentation.pair_counts import checked_labels
from .segmentation.semantic_iou import LidarsegIoU, LidarsegScores

LIDAR = "LIDAR_TOP"
LAST_CLASS = len(CHALLENGE_CLASSES) - 1
MODALITIES = {"use_camera": False, "use_lidar": True, "use_radar": False, "use_map": False, "use_external": False}


def write_lidarseg(folder: Path | str, split: str, token: str, classes: npt.ArrayLike) -> Path:
    """Write the (N,) classes in [1, 16] of one scan; returns the file. Raises ValueError if one lies elsewhere."""
    values = checked_labels(np.asarray(classes).astype(np.int64).reshape(-1), 1, LAST_CLASS, "classes")
    path = result_path(folder, "lidarseg", split, token)
    with atomic_path(path) as temporary:
        temporary.write_bytes(values.astype(np.uint8).tobytes())
    return path


def write_panoptic(folder: Path | str, split: str, token: str, labels: npt.ArrayLike) -> Path:
    """Write the (N,) labels of one scan; returns the file.

    Raises:
        ValueError: a class lies outside [1, 16], a point of a thing has no instance, or one of stuff has one.
    """
    values = np.asarray(labels).astype(np.int64).reshape(-1)
    classes = checked_labels(values // INSTANCE_FACTOR, 1, LAST_CLASS, "classes of labels")
    wrong = values[(classes <= len(CHALLENGE_THINGS)) != (values % INSTANCE_FACTOR > 0)]
    if wrong.size:
        raise ValueError(f"labels must have an instance from 1 for things and 0 for stuff, got {wrong[0]}")
    path = result_path(folder, "panoptic", split, token)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, data=values.astype(np.uint16))
    return path


def write_submission(folder: Path | str, split: str, modalities: Mapping[str, bool] = MODALITIES) -> Path:
    """Write ``SPLIT/submission.json``, which tells the server what a model has seen; returns the file."""
    return write_json(Path(folder) / split / "submission.json", {"meta": dict(modalities)})


def result_path(folder: Path | str, task: str, split: str, token: str) -> Path:
    """File of one scan in a folder of results; ``task`` is "lidarseg" or "panoptic"."""
    ending = {"lidarseg": "bin", "panoptic": "npz"}[task]
    return Path(folder) / task / split / f"{token}_{task}.{ending}"


def read_point_labels(path: Path) -> np.ndarray:
    """(N,) int64 labels of a ``.bin`` or ``.npz`` file. Raises DataError if it is absent or malformed."""
    try:
        data = path.read_bytes()
        if path.suffix == ".npz":
            with np.load(io.BytesIO(data), allow_pickle=False) as content:
                labels = content["data"]
        else:
            labels = np.frombuffer(data, np.uint8)
    except OSError as error:
        raise DataError(path, "file", "labels of points", error.strerror or error) from error
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(path, "data", "an npz file with an array `data`", error) from error
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(path, "data", "(N,) integers", f"{labels.shape} {labels.dtype}")
    return labels.astype(np.int64)


def evaluate_lidarseg_root(root: Path | str, version: str, split: str, results: Path | str) -> LidarsegScores:
    """Score a folder of lidarseg results against the labels of a data root.

    Raises:
        DataError: the root has no such version, split or labels, or a file is absent or malformed or does not fit.
    """
    iou = LidarsegIoU()
    for scene in _scenes(root, version, split, results, "lidarseg"):
        for scan in scene:
            iou.update(scan.true_classes, scan.predictions)
    return iou.compute()


def evaluate_panoptic_root(
    root: Path | str, version: str, split: str, results: Path | str, min_points: int = MIN_POINTS
) -> LidarPanopticScores:
    """Score a folder of panoptic results, each scan for itself. Raises DataError as `evaluate_lidarseg_root` does."""
    quality = LidarPanopticQuality(min_points=min_points)
    for scene in _scenes(root, version, split, results, "panoptic"):
        for scan in scene:
            quality.update(scan.truth, scan.predictions, scan.true_classes)
    return quality.compute()


def evaluate_tracking_root(
    root: Path | str, version: str, split: str, results: Path | str, min_points: int = MIN_POINTS
) -> LidarTrackingScores:
    """Score a folder of panoptic results with tracking. Raises DataError as `evaluate_lidarseg_root` does."""
    tracking = LidarPanopticTracking(min_points=min_points)
    for scene in _scenes(root, version, split, results, "panoptic"):
        tracking.update(
            [scan.truth for scan in scene], [scan.predictions for scan in scene],
            [scan.true_classes for scan in scene],
        )
    return tracking.compute()


@dataclass(frozen=True, eq=False)
class _Scan:
    """Labels of the (N,) points of one scan: those of the root's file, their challenge classes, and predicted ones."""

    truth: np.ndarray
    true_classes: np.ndarray
    predictions: np.ndarray


def _scenes(root: Path | str, version: str, split: str, results: Path | str, task: str) -> Iterator[list[_Scan]]:
    """The scans of each scene of the split in order of time, one scene in memory at a time."""
    tables = open_tables(root, version)
    files = {record["sample_data_token"]: Path(root) / record["filename"] for record in getattr(tables, task, ())}
    tokens: dict[str, list[str]] = {}
    samples = [tables.get("sample", token) for token in split_samples(tables, split)]
    for sample in sorted(samples, key=lambda sample: sample["timestamp"]):
        tokens.setdefault(sample["scene_token"], []).append(sample["data"][LIDAR])
    unlabelled = [token for scene in tokens.values() for token in scene if token not in files]
    if unlabelled:
        where = Path(root) / version / f"{task}.json"
        raise DataError(where, "sample_data_token", f"labels of all scans of {split}", f"none of {unlabelled[0]}")
    for scene in tokens.values():
        yield [_read_scan(files[token], result_path(results, task, split, token), task) for token in scene]


def _read_scan(truth_file: Path, result_file: Path, task: str) -> _Scan:
    truth, predictions = read_point_labels(truth_file), read_point_labels(result_file)
    factor = 1 if task == "lidarseg" else INSTANCE_FACTOR
    table = challenge_class_table()
    _check_classes(truth_file, truth // factor, range(len(table)))
    _check_classes(result_file, predictions // factor, range(1 if task == "lidarseg" else 0, LAST_CLASS + 1))
    if len(predictions) != len(truth):
        raise DataError(result_file, "points", f"{len(truth)} as in {truth_file.name}", len(predictions))
    return _Scan(truth, table[truth // factor], predictions)


def _check_classes(path: Path, classes: np.ndarray, known: range) -> None:
    wrong = classes[(classes < known.start) | (classes >= known.stop)]
    if wrong.size:
        raise DataError(path, "class", f"{known.start} to {known.stop - 1}", wrong[0])
