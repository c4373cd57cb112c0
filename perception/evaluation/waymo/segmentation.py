"""Waymo 3D semantic segmentation: IoU of 22 classes over the pixels of the top LiDAR's two range images.

A pixel without a true class (0) is left out; one with a true class that was predicted as 0 counts as missed, and so
does every pixel of a frame without predictions. Predictions of frames without ground truth are not looked at. A class
that neither the truth nor the predictions have gets IoU 1, so the mean always runs over all 22.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.waymo.matrices import int_matrix
from perception.datasets.waymo.names import LASERS, LIDAR_CLASSES
from perception.datasets.waymo.schema import SegmentationFrameList, parse_message
from perception.errors import DataError

logger = logging.getLogger(__name__)

NUM_CLASSES = len(LIDAR_CLASSES)                           # with 0, undefined
TOP = LASERS.index("TOP")
_RETURNS = ("ri_return1", "ri_return2")

FrameKey = tuple[str, int]                                 # name of the drive, timestamp [us]
FrameLabels = tuple[np.ndarray, ...]                       # one (H, W) map a return


@dataclass(frozen=True, eq=False)
class WaymoSegmentationScores:
    """What was counted.

    Args:
        confusion: (23, 23) int64 pixels by true and by predicted class; row 0 is empty.
        num_frames: frames with ground truth.
        num_missing: those of them without predictions.
    """

    confusion: np.ndarray
    num_frames: int
    num_missing: int

    def iou(self) -> np.ndarray:
        """(22,) float64 IoU of the classes 1 to 22; 1 for a class that nobody speaks of."""
        hits = np.diag(self.confusion)[1:]
        union = self.confusion[1:].sum(1) + self.confusion[1:, 1:].sum(0) - hits
        return np.divide(hits, union, out=np.ones(NUM_CLASSES - 1), where=union > 0)

    def flat(self) -> dict[str, float]:
        """One number a name: mIoU, car_IoU, ..."""
        iou = self.iou()
        return {"mIoU": float(iou.mean())} | {
            f"{name}_IoU": value for name, value in zip(LIDAR_CLASSES[1:], iou.tolist(), strict=True)
        }


def evaluate_waymo_segmentation(
    ground_truth: Mapping[FrameKey, FrameLabels], predictions: Mapping[FrameKey, FrameLabels]
) -> WaymoSegmentationScores:
    """Compare label maps frame by frame.

    Args:
        ground_truth: (H, W) integer maps of classes, one a return, by frame.
        predictions: likewise; frames may be absent.

    Raises:
        ValueError: maps of a frame differ in number or shape, or hold a class outside [0, 22].
    """
    confusion = np.zeros(NUM_CLASSES * NUM_CLASSES, np.int64)
    missing = 0
    for key, truth in ground_truth.items():
        predicted = predictions.get(key)
        if predicted is None:
            missing += 1
            predicted = tuple(np.zeros_like(labels) for labels in truth)
        if [labels.shape for labels in truth] != [labels.shape for labels in predicted]:
            wanted, got = ([labels.shape for labels in maps] for maps in (truth, predicted))
            raise ValueError(f"predictions of frame {key} must have the shapes {wanted} of the ground truth, got {got}")
        for true, found in zip(truth, predicted, strict=True):
            for name, labels in (("ground_truth", true), ("predictions", found)):
                if labels.size and not (labels.min() >= 0 and labels.max() < NUM_CLASSES):
                    raise ValueError(
                        f"{name} of frame {key} must lie in [0, {NUM_CLASSES}), got {labels.min()} to {labels.max()}"
                    )
            is_defined = true > 0
            codes = true[is_defined].astype(np.int64) * NUM_CLASSES + found[is_defined]
            confusion += np.bincount(codes, minlength=len(confusion))
    if missing:
        logger.warning("no predictions for %d of %d frames: all of their pixels are missed", missing, len(ground_truth))
    return WaymoSegmentationScores(confusion.reshape(NUM_CLASSES, -1), len(ground_truth), missing)


def read_waymo_segmentation(path: Path | str) -> dict[FrameKey, FrameLabels]:
    """The label maps of a ``SegmentationFrameList`` file: the top LiDAR's, by drive and timestamp.

    A frame without labels of the top LiDAR is not among them. Maps have a class a pixel; of the data set's own maps,
    which hold an instance and a class, the class is taken.

    Raises:
        DataError: the file is absent, empty or no such message; a frame is there twice; labels are damaged or no map.
    """
    path = Path(path)
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise DataError(path, "file", "a readable file", error.strerror) from error
    if not payload:
        raise DataError(path, "file", "a serialized SegmentationFrameList", "an empty file")
    frames: dict[FrameKey, FrameLabels] = {}
    for frame in parse_message(SegmentationFrameList, payload, path).frames:
        key = (frame.context_name, frame.frame_timestamp_micros)
        where = f"frame {key[0]} at {key[1]}"
        maps = [
            _label_map(getattr(laser, name).segmentation_label_compressed, path, f"{where}: {name}")
            for laser in frame.segmentation_labels if laser.name == TOP
            for name in _RETURNS if laser.HasField(name)
        ]
        if key in frames:
            raise DataError(path, where, "one entry a frame", "a second one")
        if maps:
            frames[key] = tuple(maps)
    return frames


def _label_map(stored: Any, path: Path, field: str) -> np.ndarray:
    """(H, W) int32."""
    labels = int_matrix(stored, path, field).array()
    if labels.ndim == 3 and labels.shape[2] == 2:
        return labels[:, :, 1]
    if labels.ndim != 2:
        raise DataError(path, field, "a matrix of rows and columns", f"the shape {labels.shape}")
    return labels
