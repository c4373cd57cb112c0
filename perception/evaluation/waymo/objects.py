"""Boxes of many frames as columns: what Waymo's ``Objects`` files hold, predictions and ground truth alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

TYPES = ("VEHICLE", "PEDESTRIAN", "SIGN", "CYCLIST")       # numbered from 1
NUM_LEVELS = 3                                             # unknown, LEVEL_1, LEVEL_2
_CAMERAS = 128                                             # more than there are numbers for


@dataclass(frozen=True, eq=False)
class WaymoObjects:
    """N boxes in the vehicle frames of their own times.

    Args:
        context_names: names of the drives; `context` points into them.
        context: (N,) int32.
        timestamp_us: (N,) int64 start of the sweep [us].
        boxes: (N, 7) float64 x, y, z of the centre, length, width, height [m], heading [rad].
        types: (N,) int8, 1 vehicle, 2 pedestrian, 3 sign, 4 cyclist.
        scores: (N,) float32; of ground truth without meaning.
        overlap_with_nlz: (N,) bool, whether the box lies in a zone without labels.
        difficulty: (N,) int8, 1 or 2, 0 where it is not annotated; without meaning for predictions.
        num_points: (N,) int32 LiDAR points in the box.
        speed: (N, 2) float64 over ground [m/s].
        camera: (N,) int8 camera of camera-only results, else 0.

    Raises:
        ValueError: a column has another length or an unknown type; boxes or speeds are not finite, a size is
            negative, or a score is NaN.
    """

    context_names: tuple[str, ...]
    context: np.ndarray
    timestamp_us: np.ndarray
    boxes: np.ndarray
    types: np.ndarray
    scores: np.ndarray
    overlap_with_nlz: np.ndarray
    difficulty: np.ndarray
    num_points: np.ndarray
    speed: np.ndarray
    camera: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.boxes)
        for name, (dtype, width) in COLUMNS.items():
            given = np.asarray(getattr(self, name))
            column: np.ndarray = given.astype(dtype, copy=False)
            if np.issubdtype(dtype, np.integer) and (column != given).any():
                raise ValueError(f"{name} must be whole numbers that {np.dtype(dtype)} holds")
            object.__setattr__(self, name, column)
            shape = (count, width) if width else (count,)
            if column.shape != shape:
                raise ValueError(f"{name} must be {shape}, got {column.shape}")
        self._check("boxes", np.isfinite(self.boxes).all(1), "finite")
        self._check("boxes", (self.boxes[:, 3:6] >= 0).all(1), "of sizes >= 0")
        self._check("speed", np.isfinite(self.speed).all(1), "finite")
        self._check("scores", ~np.isnan(self.scores), "a number")
        self._check("types", (self.types >= 1) & (self.types <= len(TYPES)), f"in 1 to {len(TYPES)}, {TYPES}")
        self._check("difficulty", (self.difficulty >= 0) & (self.difficulty < NUM_LEVELS), "0, 1 or 2")
        self._check("camera", self.camera >= 0, "a number >= 0")
        names = len(self.context_names)
        self._check("context", (self.context >= 0) & (self.context < names), f"a row of {names} context_names")

    @classmethod
    def from_columns(
        cls,
        contexts: Sequence[str] | np.ndarray,
        timestamp_us: npt.ArrayLike,
        boxes: npt.ArrayLike,
        types: npt.ArrayLike,
        *,
        scores: npt.ArrayLike = 1.0,
        overlap_with_nlz: npt.ArrayLike = False,
        difficulty: npt.ArrayLike = 0,
        num_points: npt.ArrayLike = 0,
        speed: npt.ArrayLike = 0.0,
        camera: npt.ArrayLike = 0,
    ) -> WaymoObjects:
        """Of N names of drives and columns; one number stands for a column of it.

        Raises:
            ValueError: as of the class.
        """
        rows = np.reshape(np.asarray(boxes, np.float64), (-1, 7))
        names, context = np.unique(np.asarray(contexts, dtype=np.str_), return_inverse=True)
        given = {
            "scores": scores, "overlap_with_nlz": overlap_with_nlz, "difficulty": difficulty,
            "num_points": num_points, "speed": speed, "camera": camera,
        }
        columns = {name: _filled(value, len(rows), COLUMNS[name][1]) for name, value in given.items()}
        return cls(
            tuple(names.tolist()), context=context, timestamp_us=np.asarray(timestamp_us), boxes=rows,
            types=np.asarray(types), **columns,
        )

    @classmethod
    def empty(cls) -> WaymoObjects:
        """No object at all."""
        return cls.from_columns([], [], np.zeros((0, 7)), [])

    @classmethod
    def concatenate(cls, parts: Sequence[WaymoObjects]) -> WaymoObjects:
        """One after the other."""
        if not parts:
            return cls.empty()
        names = sorted({name for part in parts for name in part.context_names})
        place = {name: row for row, name in enumerate(names)}
        context = [np.array([place[name] for name in part.context_names], int)[part.context] for part in parts]
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS if name != "context"
        }
        return cls(tuple(names), context=np.concatenate(context), **columns)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: slice | np.ndarray) -> WaymoObjects:
        """Some of the objects: by slice, mask or int64 index."""
        return replace(self, **{name: getattr(self, name)[rows] for name in COLUMNS})

    def __repr__(self) -> str:
        return f"WaymoObjects({len(self)} boxes of {len(self.context_names)} drives)"

    def _check(self, name: str, is_good: np.ndarray, wanted: str) -> None:
        if not is_good.all():
            row = int(np.argmin(is_good))
            raise ValueError(f"{name} must be {wanted}, row {row} is {getattr(self, name)[row].tolist()}")


COLUMNS: dict[str, tuple[type, int]] = {                   # name: (dtype, width or 0)
    "context": (np.int32, 0), "timestamp_us": (np.int64, 0), "boxes": (np.float64, 7), "types": (np.int8, 0),
    "scores": (np.float32, 0), "overlap_with_nlz": (np.bool_, 0), "difficulty": (np.int8, 0),
    "num_points": (np.int32, 0), "speed": (np.float64, 2), "camera": (np.int8, 0),
}
assert set(COLUMNS) == {field.name for field in fields(WaymoObjects)} - {"context_names"}


def frame_numbers(*sets: WaymoObjects) -> tuple[list[np.ndarray], int]:
    """Number the frames that any of the sets speaks of, in the official order: by name and camera, then by time.

    Returns:
        (N,) int64 frame of each object, a set each; the number of frames.
    """
    drives = [_drives(part) for part in sets]
    rank = {key: row for row, key in enumerate(sorted({key for keys, _ in drives for key in keys}))}
    drive_of = np.concatenate([np.array([rank[key] for key in keys], np.int64)[rows] for keys, rows in drives])
    times, time_of = np.unique(np.concatenate([part.timestamp_us for part in sets]), return_inverse=True)
    frames, frame_of = np.unique(drive_of * len(times) + time_of, return_inverse=True)
    ends = np.cumsum([len(part) for part in sets])[:-1]
    return np.split(frame_of.astype(np.int64), ends), len(frames)


def _drives(part: WaymoObjects) -> tuple[list[str], np.ndarray]:
    """Names with camera numbers, and (N,) the name of each object by its place among them."""
    codes, rows = np.unique(part.context.astype(np.int64) * _CAMERAS + part.camera, return_inverse=True)
    return [f"{part.context_names[code // _CAMERAS]}_{code % _CAMERAS}" for code in codes.tolist()], rows


def _filled(value: npt.ArrayLike, count: int, width: int) -> np.ndarray:
    array = np.asarray(value)
    return np.broadcast_to(array, (count, width) if width else (count,)) if array.ndim == 0 else array
