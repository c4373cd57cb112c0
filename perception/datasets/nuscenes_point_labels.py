"""nuScenes' labels of points: lidarseg, a class each, and panoptic, an instance each besides.

Fong et al., "Panoptic nuScenes", RA-L 2022. The files know 32 categories, the challenge 16 classes, of which the first
ten are things; points of the other categories are ignored.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..structures import PointLabels
from ..structures.segmentation import IGNORE_LABEL
from .nuscenes_lidarseg import CHALLENGE_CLASSES, CHALLENGE_THINGS, NUM_CATEGORIES, challenge_class_table

KINDS = ("lidarseg", "panoptic")
POINT_CLASSES, THINGS = CHALLENGE_CLASSES[1:], CHALLENGE_THINGS     # the challenge counts classes from 1
INSTANCES_OF_CATEGORY = 1000                       # a panoptic code is category * 1000 + instance
CLASS_BY_CATEGORY = np.where(challenge_class_table() > 0, challenge_class_table() - 1, IGNORE_LABEL)    # (32,)


def read_point_labels(path: Path, kind: str) -> PointLabels:
    """The labels in a file, a row for each point that was recorded, in the classes of the challenge.

    Args:
        path: the file.
        kind: "lidarseg" (uint8 categories) or "panoptic" (a uint16 array ``data`` of category * 1000 + instance, which
            gives classes too: a point in several boxes, or of a thing outside its box, is ignored). The number of an
            instance is its code, so those of two categories never meet.

    Raises:
        DataError: the file is absent or malformed, or holds an unknown category.
    """
    codes = _read_lidarseg(path) if kind == "lidarseg" else _read_panoptic(path)
    category = codes if kind == "lidarseg" else codes // INSTANCES_OF_CATEGORY
    if len(category) and (category.max() >= NUM_CATEGORIES or category.min() < 0):
        found = f"{category.min()} to {category.max()}"
        raise DataError(path, kind, f"categories from 0 to {NUM_CATEGORIES - 1}", found)
    classes = torch.from_numpy(CLASS_BY_CATEGORY[category])
    if kind == "lidarseg":
        return PointLabels(classes, names=POINT_CLASSES)
    is_instance = (codes % INSTANCES_OF_CATEGORY > 0) & (CLASS_BY_CATEGORY[category] < len(THINGS))
    return PointLabels(classes, torch.from_numpy(np.where(is_instance, codes, 0)), POINT_CLASSES)


def rows_as_read(path: Path, columns: int) -> Tensor:
    """(rows,) bool: which rows of a sweep's file are finite, as only these become points."""
    return torch.from_numpy(np.isfinite(np.fromfile(path, "<f4").reshape(-1, columns)).all(axis=1))


def _read_lidarseg(path: Path) -> np.ndarray:
    return np.frombuffer(_bytes_of(path), np.uint8).astype(np.int64)


def _read_panoptic(path: Path) -> np.ndarray:
    try:
        with np.load(io.BytesIO(_bytes_of(path)), allow_pickle=False) as archive:
            codes = archive["data"]
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise DataError(path, "panoptic", "an array named data in an .npz file", error) from error
    if codes.ndim != 1 or codes.dtype.kind not in "iu":
        raise DataError(path, "panoptic", "whole numbers, one a point", f"{codes.shape} {codes.dtype}")
    return codes.astype(np.int64)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(path, "file", "labels of points", error.strerror or error) from error
