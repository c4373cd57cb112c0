"""Panoptic truth out of Cityscapes' instance files, and id maps as colours of a picture (COCO's panoptic format)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .cityscapes_labels import INSTANCE_FACTOR, PICTURE_LABELS, train_id_table
from .compact_labels import compact

BASE = 256                                                  # of the digits of an id in red, green and blue


@dataclass(frozen=True, eq=False)
class PanopticTruth:
    """Segments of one picture by rising id.

    Args:
        ids: (H, W) int64 segment of each pixel; 0 where none is scored.
        segment_ids: (S,) int64 value of the instance file.
        label_ids: (S,) int64 label.
        is_crowd: (S,) bool, several instances that were not told apart.
        areas: (S,) int64 pixels.
        boxes: (S, 4) int64 tight box: left, top, width, height [pixels].
    """

    ids: np.ndarray
    segment_ids: np.ndarray
    label_ids: np.ndarray
    is_crowd: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray

    @property
    def train_ids(self) -> np.ndarray:
        """(S,) int64 place in `CLASSES`."""
        return train_id_table()[self.label_ids]


def panoptic_truth(instance_ids: np.ndarray) -> PanopticTruth:
    """Each scored value of a (H, W) instance file is a segment, a crowd if it is a group of a label with instances.

    Raises:
        ValueError: the map is not two-dimensional, or a value belongs to no label.
    """
    if instance_ids.ndim != 2:
        raise ValueError(f"instance_ids must be (H, W), got {instance_ids.shape}")
    values, place = compact(instance_ids.astype(np.int64))
    counts = np.bincount(place.ravel(), minlength=len(values))
    is_instance = values >= INSTANCE_FACTOR
    labels = np.where(is_instance, values // INSTANCE_FACTOR, values)
    unknown = values[(labels < 0) | (labels >= len(PICTURE_LABELS))]
    if unknown.size:
        raise ValueError(f"instance_ids must be those of Cityscapes labels, got {unknown[0]}")
    has_instances, is_scored = (
        np.array([getattr(label, name) for label in PICTURE_LABELS]) for name in ("has_instances", "is_scored")
    )
    kept = is_scored[labels]
    ids = np.where(kept, values, 0)[place]
    slices = ndimage.find_objects(place + 1)
    boxes = np.array([[x.start, y.start, x.stop - x.start, y.stop - y.start] for y, x in slices], np.int64)
    is_crowd = ~is_instance & has_instances[labels]
    return PanopticTruth(ids, values[kept], labels[kept], is_crowd[kept], counts[kept], boxes.reshape(-1, 4)[kept])


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """(H, W) ids in [0, 256^3) -> (H, W, 3) uint8 with id = R + 256 G + 65536 B. Raises ValueError if one is beyond."""
    if ids.size and (ids.min() < 0 or ids.max() >= BASE**3):
        raise ValueError(f"ids must lie in [0, {BASE**3}), got {ids.min()} to {ids.max()}")
    return (ids.astype(np.int64)[..., None] // BASE ** np.arange(3) % BASE).astype(np.uint8)


def rgb_to_ids(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) int64 ids. Raises ValueError for another shape or dtype."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"rgb must be (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    return rgb.astype(np.int64) @ BASE ** np.arange(3)
