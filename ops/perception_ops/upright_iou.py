"""upright_iou_pairs: IoU of chosen pairs of upright boxes, in double precision, for scores that must be exact.

Unlike the torch ops it takes and gives NumPy arrays, as evaluation does. The area shared in the xy plane is the line
integral of `rotated_iou`.
"""

from __future__ import annotations

import numpy as np
import torch

from .dispatch import NATIVE
from .rotated_iou import intersection_area

_PAIRS_AT_ONCE = 1 << 16   # about 60 MB of temporaries
_RECTANGLE = [0, 1, 3, 4, 6]


def upright_iou_pairs(
    a: np.ndarray, b: np.ndarray, first: np.ndarray, second: np.ndarray, *, bev: bool = False
) -> np.ndarray:
    """IoU of box ``first[i]`` of ``a`` with box ``second[i]`` of ``b``.

    Args:
        a: (K, 7) float64 x, y, z of the gravity centre, length, width, height, yaw: metres and radians, finite,
            sizes >= 0.
        b: (L, 7), likewise.
        first: (E,) int64 rows of ``a``.
        second: (E,) int64 rows of ``b``.
        bev: areas seen from above in place of volumes; z and height are not looked at.

    Returns:
        (E,) float64 in [0, 1]; two boxes without volume give 0.

    Raises:
        ValueError: wrong shapes, a number that is not finite or a negative size, a row that does not exist.
    """
    a, b = _boxes("a", a), _boxes("b", b)
    first, second = _rows("first", first, len(a)), _rows("second", second, len(b))
    if len(first) != len(second):
        raise ValueError(f"first and second must have the same length, got {len(first)} and {len(second)}")
    if NATIVE is None:
        return upright_iou_pairs_reference(a, b, first, second, bev=bev)
    iou = np.empty(len(first))
    NATIVE.upright_iou(a, _turns(a), b, _turns(b), first, second, bev, iou, torch.get_num_threads())
    return iou


def upright_iou_pairs_reference(
    a: np.ndarray, b: np.ndarray, first: np.ndarray, second: np.ndarray, *, bev: bool = False
) -> np.ndarray:
    """The same in array algebra, in chunks that bound the memory."""
    parts = [np.zeros(0)]
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        chunk = slice(start, start + _PAIRS_AT_ONCE)
        parts.append(_iou(a[first[chunk]], b[second[chunk]], bev))
    return np.concatenate(parts)


def _iou(a: np.ndarray, b: np.ndarray, bev: bool) -> np.ndarray:
    """(E, 7), (E, 7) -> (E,)."""
    size_a, size_b = a[:, 3] * a[:, 4], b[:, 3] * b[:, 4]
    area = intersection_area(torch.from_numpy(a[:, _RECTANGLE]), torch.from_numpy(b[:, _RECTANGLE])).numpy()
    overlap = np.clip(area, 0.0, np.minimum(size_a, size_b))
    if not bev:
        top = np.minimum(a[:, 2] + a[:, 5] / 2, b[:, 2] + b[:, 5] / 2)
        bottom = np.maximum(a[:, 2] - a[:, 5] / 2, b[:, 2] - b[:, 5] / 2)
        overlap = overlap * np.maximum(top - bottom, 0.0)
        size_a, size_b = size_a * a[:, 5], size_b * b[:, 5]
    joined = size_a + size_b - overlap
    return np.minimum(np.divide(overlap, joined, out=np.zeros_like(overlap), where=overlap > 0), 1.0)


def _boxes(name: str, boxes: np.ndarray) -> np.ndarray:
    boxes = np.require(boxes, np.float64, ["C", "W"])      # the kernels' way of sharing refuses read-only arrays
    if boxes.ndim != 2 or boxes.shape[1] != 7:
        raise ValueError(f"{name} must be (K, 7), got {boxes.shape}")
    good = np.isfinite(boxes).all(1) & (boxes[:, 3:6] >= 0).all(1)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"{name} must be finite with sizes >= 0, row {row} is {boxes[row].tolist()}")
    return boxes


def _rows(name: str, rows: np.ndarray, count: int) -> np.ndarray:
    rows = np.require(rows, np.int64, ["C", "W"])
    if rows.ndim != 1 or (len(rows) and (rows.min() < 0 or rows.max() >= count)):
        raise ValueError(f"{name} must be (E,) rows in [0, {count})")
    return rows


def _turns(boxes: np.ndarray) -> np.ndarray:
    """Cosine and sine of each yaw, torch's as in the reference: (K, 7) -> (K, 2)."""
    yaw = torch.from_numpy(boxes[:, 6])
    return torch.stack([yaw.cos(), yaw.sin()], 1).numpy()
