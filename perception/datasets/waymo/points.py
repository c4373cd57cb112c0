"""From the returns of Waymo's lasers to a cloud of points and the labels of its rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...errors import DataError
from ...structures import PointCloud, PointLabels
from ...structures.segmentation import IGNORE_LABEL
from .names import LASERS, LIDAR_CLASSES
from .range_images import LaserReturns

POINT_COLUMNS = ("x", "y", "z", "intensity", "elongation", "return_number", "laser", "no_label_zone")
POINT_CLASSES = LIDAR_CLASSES[1:]                    # without "undefined", whose points are ignored


def point_cloud(returns: Sequence[LaserReturns]) -> PointCloud:
    """The points of all returns in their order, with the channels `POINT_COLUMNS`.

    Intensity, which the sensor doesn't bound, is its tanh and so lies in [0, 1]; a negative or unknown one is 0.
    """
    data = np.empty((sum(len(part) for part in returns), len(POINT_COLUMNS)), np.float32)       # (N, C)
    first = 0
    for part in returns:
        rows = data[first : first + len(part)]
        rows[:, :3] = part.xyz
        rows[:, 3] = np.tanh(np.fmax(part.intensity, 0.0))           # fmax takes the number where the other is NaN
        rows[:, 4] = part.elongation
        rows[:, 5] = part.return_number
        rows[:, 6] = LASERS.index(part.laser) if part.laser in LASERS else 0
        rows[:, 7] = part.in_no_label_zone
        first += len(part)
    return PointCloud(torch.from_numpy(data), POINT_COLUMNS)


def point_labels_of(returns: Sequence[LaserReturns], place: str) -> PointLabels | None:
    """The labels of the rows of `point_cloud`, in the classes `POINT_CLASSES`; None if no laser has any.

    Points of lasers without labels are ignored. Instances are numbered anew from 1 within the frame.

    Args:
        returns: read with labels.
        place: told by the error.

    Raises:
        DataError: a class is unknown.
    """
    if all(part.labels is None for part in returns):
        return None
    pairs = [np.zeros((len(part), 2), np.int64) if part.labels is None else part.labels for part in returns]
    instances, classes = np.concatenate(pairs).astype(np.int64).T    # (N,) each
    if classes.size and not 0 <= classes.min() <= classes.max() < len(LIDAR_CLASSES):
        found = f"{classes.min()} to {classes.max()}"
        raise DataError(place, "labels of points", f"classes from 0 to {len(LIDAR_CLASSES) - 1}", found)
    numbers = np.where((instances > 0) & (classes > 0), instances * len(LIDAR_CLASSES) + classes, 0)
    _, ranks = np.unique(np.concatenate([[0], numbers]), return_inverse=True)      # 0 is first, and means none
    return PointLabels(
        torch.from_numpy(np.where(classes > 0, classes - 1, IGNORE_LABEL)),
        torch.from_numpy(ranks[1:].astype(np.int64)),
        POINT_CLASSES,
    )
