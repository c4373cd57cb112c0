"""KITTI's results: a folder with a text file a frame, boxes in the frame of rectified camera 0.

Files are named by numbers. Frames of other data sets are numbered, and ``frames.json`` beside the files tells their
names, times and poses; cameras that are not KITTI's stand at the Velodyne's place without any tilt, and ``calib/`` says
so in KITTI's own form. A folder that was written here is read again without further help.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from perception.datasets.kitti import (
    EGO_FROM_LIDAR,
    NO_OBJECT,
    KittiCalibration,
    frame_time,
    read_calibration,
    read_label_columns,
)
from perception.errors import ConfigError, DataError, suggestion
from perception.structures import SE3, Boxes3D, KittiRows
from perception.structures.boxes3d import wrap_angle

from .frame_results import FramePlace, FrameResults, FrameSource, read_places, write_places

CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
PLACES, DATA, CALIBRATION = "frames.json", "data", "calib"
DRIVE = "kitti"                                            # KITTI's frames stand alone; others belong to a drive
UNKNOWN = -1.0                                             # truncation, occlusion, and rectangles that are not known
NEAR_M = 0.1                                               # nothing nearer to the camera is projected
# Camera axes x right, y down, z forward in those of the Velodyne, and pixels of a camera with focal length 1.
LEVEL = KittiCalibration(
    SE3(torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64), torch.zeros(3)),
    torch.eye(3, 4, dtype=torch.float64),
)


def read(path: Path, source: FrameSource) -> list[FrameResults]:
    """The detections of every file ``NNNNNN.txt`` of a folder or of its ``data/``; DontCare regions are left out.

    Calibrations are those of ``calib/`` in the folder, else of the root or its ``training/``.

    Raises:
        ConfigError: nothing says where the calibrations are.
        DataError: the folder has no result, or a file is absent or malformed.
    """
    folder = path / DATA if (path / DATA).is_dir() else path
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise DataError(path, "folder", "files NNNNNN.txt of results", "none" if path.is_dir() else "no such folder")
    calibrations = _calibrations(path, source.root)
    file = source.places or (path / PLACES if (path / PLACES).is_file() else None)
    places = None if file is None else read_places(file)
    frames = []
    for entry in files:
        place = _numbered(entry) if places is None else places.get(entry.stem)
        if place is None:
            raise DataError(file or path, entry.stem, "a frame of this name", "none")
        frames.append(_read_frame(entry, place, read_calibration(calibrations / entry.name)))
    return frames


def write(frames: Iterable[FrameResults], path: Path) -> list[str]:
    """Write the folder, whole or not at all; returns what a reader should know.

    Raises:
        ConfigError: the folder exists and is not empty.
    """
    given = list(frames)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path}: exists already; KITTI results go to a folder of their own")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        for name in (DATA, CALIBRATION):
            (scratch / name).mkdir()
        names = _names(given)
        for name, frame in zip(names, given, strict=True):
            (scratch / DATA / f"{name}.txt").write_text(_text(frame), encoding="utf-8")
            calibration = calibration_text(frame.calibration or LEVEL)
            (scratch / CALIBRATION / f"{name}.txt").write_text(calibration, encoding="utf-8")
        write_places(scratch / PLACES, dict(zip(names, map(_place_of, given), strict=True)))
        scratch.chmod(0o755)
        os.replace(scratch, path)                          # onto an empty folder, or nothing
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    notes = []
    if any(frame.predictions.boxes.has_velocity for frame in given):
        notes.append("velocities are left out: the files have no place for them")
    if any(frame.calibration is None for frame in given):
        notes.append(f"camera 0 is a level one at KITTI's place on the vehicle, told in {CALIBRATION}/; no rectangles")
    return notes


def calibration_text(calibration: KittiCalibration) -> str:
    """A file of calibration that `read_calibration` reads: the rotation of rectification is in Tr_velo_to_cam."""
    matrices = {
        "P2": calibration.projection, "R0_rect": torch.eye(3, dtype=torch.float64),
        "Tr_velo_to_cam": calibration.lidar_from_camera0.inverse().matrix()[:3],
    }
    return "".join(
        f"{name}: {' '.join(repr(value) for value in matrix.flatten().tolist())}\n" for name, matrix in matrices.items()
    )


def rectangles(boxes: Boxes3D, calibration: KittiCalibration) -> Tensor:
    """(K, 4) left, top, right, bottom [pixels] around the corners of boxes in the LiDAR frame that are seen.

    They may leave the picture. Where no corner is in front of the camera, all four are -1.
    """
    corners = calibration.lidar_from_camera0.inverse().apply(boxes.corners())                     # (K, 8, 3)
    pixels = torch.cat([corners, torch.ones_like(corners[..., :1])], dim=-1) @ calibration.projection.T
    behind = (pixels[..., 2:] <= NEAR_M).expand(-1, -1, 2)
    flat = pixels[..., :2] / pixels[..., 2:].clamp(min=NEAR_M)                                    # (K, 8, 2)
    least, most = flat.masked_fill(behind, math.inf).amin(dim=1), flat.masked_fill(behind, -math.inf).amax(dim=1)
    edges = torch.cat([least, most], dim=1)
    return torch.where(torch.isfinite(edges), edges, UNKNOWN)


def _calibrations(path: Path, root: Path | None) -> Path:
    folders = [path / CALIBRATION]
    if root is not None:
        folders += [root / "training" / CALIBRATION, root / CALIBRATION]
    for folder in folders:
        if folder.is_dir():
            return folder
    if root is None:
        raise ConfigError(f"{path}: KITTI results are in the camera's frame: give the root, whose calib/ places it")
    raise DataError(root, CALIBRATION, "a folder of calibration files, here or in training/", "none")


def _numbered(path: Path) -> FramePlace:
    if not path.stem.isdigit():
        raise DataError(path, "file name", "the number of a frame", path.stem)
    return FramePlace(path.stem, DRIVE, frame_time(path.stem))


def _read_frame(path: Path, place: FramePlace, calibration: KittiCalibration) -> FrameResults:
    names, table = read_label_columns(path)
    kept = [row for row, name in enumerate(names) if name != NO_OBJECT]
    table = table[kept]                                                                           # (K, 15)
    wrong = ~torch.isfinite(table[:, 7:]).all(dim=1) | (table[:, 7:10] < 0).any(dim=1)
    if wrong.any():
        row = table[int(wrong.nonzero()[0]), 7:].tolist()
        raise DataError(path, "box", "finite numbers, sizes >= 0, and a score in the 16th column", row)
    labels = []
    for name in (names[row] for row in kept):
        if name not in CLASSES:
            raise DataError(path, "type", f"one of {', '.join(CLASSES)}{suggestion(name, CLASSES)}", name)
        labels.append(CLASSES.index(name))
    rows = KittiRows(location=table[:, 10:13], size_hwl=table[:, 7:10], rotation_y=table[:, 13])
    boxes = Boxes3D.from_kitti(rows, calibration.lidar_from_camera0, dtype=torch.float64).moved_by(EGO_FROM_LIDAR)
    own = None if torch.equal(calibration.projection, LEVEL.projection) else calibration
    return place.with_boxes(boxes, table[:, 14], torch.tensor(labels, dtype=torch.int64), CLASSES, own)


def _names(frames: list[FrameResults]) -> list[str]:
    """Their own numbers if all are KITTI's, else numbers in their order."""
    own = [frame.predictions.token for frame in frames]
    if len(set(own)) == len(own) and all(len(name) == 6 and name.isdigit() for name in own):
        return own
    return [f"{number:06d}" for number in range(len(frames))]


def _place_of(frame: FrameResults) -> FramePlace:
    own = frame.predictions
    return FramePlace(own.token, frame.scene, own.timestamp_ns, own.global_from_ego)


def _text(frame: FrameResults) -> str:
    """The lines of a frame, best first."""
    calibration = frame.calibration or LEVEL
    best = frame.predictions[torch.argsort(frame.predictions.scores, descending=True, stable=True)]
    boxes = best.boxes.to(torch.float64).moved_by(EGO_FROM_LIDAR.inverse())
    rows = boxes.to_kitti(calibration.lidar_from_camera0)
    alpha = wrap_angle(rows.rotation_y - torch.atan2(rows.location[:, 0], rows.location[:, 2]))
    if frame.calibration is None:
        edges = torch.full((len(boxes), 4), UNKNOWN, dtype=torch.float64)
    else:
        edges = rectangles(boxes, calibration)
    columns = [alpha[:, None], edges, rows.size_hwl, rows.location, rows.rotation_y[:, None], best.scores[:, None]]
    table = torch.cat([column.double() for column in columns], dim=1)                             # (K, 13)
    lines = (
        f"{name} {UNKNOWN:g} {UNKNOWN:g} {' '.join(f'{value:.6f}' for value in row)}\n"
        for name, row in zip(best.names(), table.tolist(), strict=True)
    )
    return "".join(lines)
