"""Argoverse 2's region of interest: the drivable area of a log and 5 m around it, on av2's raster of 10 cm.

The raster is drawn as av2 draws it (Pillow's polygons, OpenCV's exact distances), once a log, and kept with one bit a
cell. A box is within if one of its eight corners is; corners are av2's bit by bit: its products of matrices, of many
boxes at once.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial.transform import Rotation

from perception.datasets.argoverse2_log import POSE_COLUMNS, read_table
from perception.errors import DataError

from .argoverse2_columns import BoxColumns

CELLS_PER_M = 10.0
MARGIN_CELLS = 50.0
LOGS_KEPT = 256                                            # more than a split has; a log takes about a megabyte
BLOCK_BOXES = 1 << 14
CORNERS = np.array([
    [1, 1, 1], [1, -1, 1], [1, -1, -1], [1, 1, -1], [-1, 1, 1], [-1, -1, 1], [-1, -1, -1], [-1, 1, -1],
])


@dataclass(frozen=True, eq=False)
class RegionOfInterest:
    """A raster of the city frame.

    Args:
        bits: (H, ceil(W / 8)) uint8, rows along y; the first of eight columns is the highest bit.
        width: W columns.
        origin: (2,) x and y of the corner of the first cell [m].
    """

    bits: np.ndarray
    width: int
    origin: np.ndarray

    def contains(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) x and y [m] -> (...) bool; numbers are cut towards 0: the first cells are twice as wide."""
        columns, rows = np.moveaxis(((points + -self.origin) * CELLS_PER_M).astype(np.int64), -1, 0)
        within = (rows >= 0) & (rows < len(self.bits)) & (columns >= 0) & (columns < self.width)
        rows, columns = np.where(within, rows, 0), np.where(within, columns, 0)
        return within & ((self.bits[rows, columns >> 3] >> (7 - (columns & 7)).astype(np.uint8)) & 1).astype(np.bool_)


@dataclass(frozen=True, eq=False)
class Poses:
    """Where the vehicle of a log was.

    Args:
        path: the table.
        times_ns: (T,) int64, rising.
        city_from_ego: (T, 4, 4) float64.
    """

    path: Path
    times_ns: np.ndarray
    city_from_ego: np.ndarray

    def at(self, times_ns: np.ndarray) -> np.ndarray:
        """(R, 4, 4) poses at (R,) times. Raises DataError if the table lacks one."""
        rows = np.searchsorted(self.times_ns, times_ns, side="right") - 1
        missing = times_ns[(rows < 0) | (self.times_ns[rows] != times_ns)] if len(self.times_ns) else times_ns
        if len(missing):
            raise DataError(self.path, "timestamp_ns", f"a pose at {missing[0]}", "none")
        return self.city_from_ego[rows]


def inside_region(split_dir: Path, log_names: list[str], boxes: BoxColumns, rows: np.ndarray) -> np.ndarray:
    """(R,) bool, whether boxes touch the region of interest of their log.

    Args:
        split_dir: folder of the logs.
        log_names: name of each log code.
        boxes: all boxes.
        rows: (R,) those that are asked for, by rising log.

    Raises:
        DataError: a log's map or poses are missing or malformed, or there is no pose at the time of a sweep.
    """
    inside = np.zeros(len(rows), np.bool_)
    logs = boxes.logs[rows]
    for log in np.unique(logs):
        begin, end = np.searchsorted(logs, [log, log + 1])
        folder = split_dir / log_names[log]
        region, poses = read_region(folder / "map"), read_poses(folder / "city_SE3_egovehicle.feather")
        for start in range(begin, end, BLOCK_BOXES):
            some = slice(start, min(start + BLOCK_BOXES, end))
            corners = box_corners(boxes.boxes[rows[some]], poses.at(boxes.times_ns[rows[some]]))
            inside[some] = region.contains(corners[..., :2]).any(axis=1)
    return inside


def box_corners(boxes: np.ndarray, city_from_ego: np.ndarray) -> np.ndarray:
    """(R, 8, 3) corners in the city frame [m] of (R, 10) boxes in the ego frames of (R, 4, 4) poses."""
    city_from_box = city_from_ego @ _transforms(boxes[:, :3], boxes[:, 6:])                          # (R, 4, 4)
    corners = (boxes[:, None, 3:6] / 2.0) * CORNERS                                                  # (R, 8, 3)
    return corners @ city_from_box[:, :3, :3].transpose(0, 2, 1) + city_from_box[:, None, :3, 3]


@lru_cache(maxsize=LOGS_KEPT)
def read_region(folder: Path) -> RegionOfInterest:
    """The region of interest of a log.

    Args:
        folder: ``map`` of the log, with ``log_map_archive_*.json``.

    Raises:
        DataError: there is no such file, or several, or it has no drivable area.
    """
    files = sorted(folder.glob("log_map_archive_*.json"))
    if len(files) != 1:
        raise DataError(folder, "map", "one file log_map_archive_*.json", f"{len(files)} of them")
    try:
        content = json.loads(files[0].read_text(encoding="utf-8"))
        areas = [
            np.array([[vertex["x"], vertex["y"]] for vertex in area["area_boundary"]], np.float64)
            for area in {area["id"]: area for area in content["drivable_areas"].values()}.values()
        ]
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(files[0], "drivable_areas", "polygons of an Argoverse 2 map", repr(error)) from error
    if not areas or not all(len(area) and np.isfinite(area).all() for area in areas):
        raise DataError(files[0], "drivable_areas", "one polygon or more, of finite numbers", f"{len(areas)} polygons")
    return drawn_region(areas)


def drawn_region(areas: list[np.ndarray]) -> RegionOfInterest:
    """From (V, 2) polygons in the city frame [m], not closed."""
    import cv2

    low = np.array([math.floor(min(area[:, axis].min() for area in areas)) for axis in range(2)])
    high = np.array([math.ceil(max(area[:, axis].max() for area in areas)) for axis in range(2)])
    width, height = (int(cells) for cells in (high - low + 1) * CELLS_PER_M)
    picture = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(picture)
    for area in areas:
        closed = np.concatenate([area, area[:1]])
        cells = np.round((closed + -low) * CELLS_PER_M).astype(np.int32)
        draw.polygon([(x, y) for x, y in cells.tolist()], outline=1, fill=1)
    distances = cv2.distanceTransform(1 - np.array(picture), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)    # [cells]
    return RegionOfInterest(np.packbits(distances <= MARGIN_CELLS, axis=1), width, low.astype(np.float64))


@lru_cache(maxsize=LOGS_KEPT)
def read_poses(path: Path) -> Poses:
    """Poses of a log; of two at one time the later row. Raises DataError if the table is absent or malformed."""
    table = read_table(path, ("timestamp_ns", *POSE_COLUMNS))
    times = table["timestamp_ns"].to_numpy()
    columns = np.stack([table[name].to_numpy() for name in POSE_COLUMNS], axis=1)                    # (T, 7)
    if not np.isfinite(columns).all() or not columns[:, :4].any(axis=1).all():
        raise DataError(path, "qw", "finite numbers, and no quaternion of length 0", "others")
    order = np.argsort(times, kind="stable")
    return Poses(path, times[order], _transforms(columns[order, 4:], columns[order, :4]))


def _transforms(translations: np.ndarray, quaternions: np.ndarray) -> np.ndarray:
    """(R, 4, 4) of (R, 3) translations [m] and (R, 4) quaternions w x y z."""
    transforms = np.tile(np.eye(4), (len(translations), 1, 1))
    if len(translations):
        transforms[:, :3, :3] = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]]).as_matrix()
    transforms[:, :3, 3] = translations
    return transforms
