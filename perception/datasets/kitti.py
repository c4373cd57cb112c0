"""KITTI object detection: 7,481 labelled 64-beam scans with colour pictures; boxes in the rectified frame of camera 0.

Geiger et al., "Are we ready for autonomous driving?", CVPR 2012. KITTI has no vehicle frame on the ground; ours is the
Velodyne's moved straight down by its mounting height, 1.73 m, so z = 0 is the road under the car.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DataError, suggestion
from ..registry import DATASETS
from ..structures import SE3, Annotations, Boxes3D, Calibration, Camera, Frame, KittiRows, PointCloud
from .base import FrameDataset, Transform, labels_of
from .point_files import read_bin

POINT_COLUMNS = ("x", "y", "z", "intensity")     # float32, Velodyne frame, metres; intensity in [0, 1]
LIDAR_HEIGHT = 1.73                              # of the Velodyne above the road [m]
EGO_FROM_LIDAR = SE3(torch.eye(3, dtype=torch.float64), torch.tensor([0.0, 0.0, LIDAR_HEIGHT], dtype=torch.float64))
PICTURES = ("image_2",)                          # the left colour camera
NO_OBJECT = "DontCare"                           # a region of the picture without a box in space


@DATASETS.register_module()
class KittiDataset(FrameDataset):
    """Frames of one split; see `FrameDataset` for indexing and transforms.

    Frames stand alone: there are no drives, sweeps, tracks or times (the frame number at 10 Hz stands for the time).
    Types outside the classes (Van, Truck, ...) get label -1; DontCare regions are left out. LiDAR returns in a box are
    not stated by the labels, so `num_lidar_pts` is None, and so are velocities.

    Args:
        root: folder holding ``training/``, ``testing/`` and ``ImageSets/``.
        split: name of a list in ``ImageSets``, such as "train" or "val"; "test" reads ``testing/``.
        cameras: ("image_2",) to load the pictures.
        classes: some of "Car", "Pedestrian", "Cyclist", in the order of the labels.

    Raises:
        DataError: a listed file is absent, truncated or malformed (names file and field).
        ConfigError: the split, a class or a camera is unknown.
    """

    METAINFO = {"classes": ("Car", "Pedestrian", "Cyclist")}

    def __init__(
        self,
        root: str | Path,
        *,
        split: str = "train",
        cameras: Sequence[str] = (),
        classes: Sequence[str] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(root, classes=classes, transforms=transforms, seed=seed)
        check_cameras(cameras, PICTURES)
        self.cameras = tuple(cameras)
        self.folder = self.root / ("testing" if split == "test" else "training")
        self.tokens = read_split(self.root / "ImageSets", split)

    @property
    def frame_tokens(self) -> Sequence[str]:
        """Six-digit names of the frames, in order."""
        return self.tokens

    def load(self, index: int) -> Frame:
        """Read one frame: points and boxes in the ego frame, its picture as a file to read later."""
        token = self.tokens[index]
        calibration = read_calibration(self.folder / f"calib/{token}.txt")
        labels = self.folder / f"label_2/{token}.txt"
        points, names = read_bin(self.folder / f"velodyne/{token}.bin", POINT_COLUMNS)
        pictures = {name: self.folder / f"{name}/{token}.png" for name in self.cameras}
        time = frame_time(token)
        return Frame(
            token=token,
            timestamp_ns=time,
            points=PointCloud(torch.from_numpy(points), names).moved_by(EGO_FROM_LIDAR),
            cameras={name: read_camera(path, calibration, time) for name, path in pictures.items()},
            annotations=None if self.folder.name == "testing" else self._annotations(labels, calibration),
            ego_from_lidar=EGO_FROM_LIDAR,
        )

    def _annotations(self, path: Path, calibration: KittiCalibration) -> Annotations:
        names, rows = read_labels(path)
        kept = [place for place, name in enumerate(names) if name != NO_OBJECT]
        rows = KittiRows(rows.location[kept], rows.size_hwl[kept], rows.rotation_y[kept])
        boxes = Boxes3D.from_kitti(rows, calibration.lidar_from_camera0).moved_by(EGO_FROM_LIDAR)
        labels = labels_of([names[place] for place in kept], self.classes)
        labels[(boxes.sizes <= 0).any(dim=1)] = -1
        return Annotations(boxes=boxes, labels=labels, classes=self.classes)


@dataclass(frozen=True, eq=False)
class KittiCalibration:
    """One camera against the Velodyne.

    Args:
        lidar_from_camera0: rectified camera 0 -> Velodyne.
        projection: (3, 4) float64 matrix of the camera, which holds its baseline to camera 0.
    """

    lidar_from_camera0: SE3
    projection: Tensor

    def camera(self, width: int, height: int) -> Calibration:
        """The camera as a pinhole of its own, with the baseline in its pose."""
        intrinsics = self.projection[:, :3]
        baseline = torch.linalg.solve(intrinsics, self.projection[:, 3])          # (3,), camera frame, metres
        camera0_from_camera = SE3(torch.eye(3, dtype=torch.float64), -baseline)
        return Calibration(intrinsics, EGO_FROM_LIDAR @ self.lidar_from_camera0 @ camera0_from_camera, width, height)


def frame_time(token: str) -> int:
    """Nominal time [ns] of a numbered frame: KITTI's scanner turns at 10 Hz."""
    return int(token) * 100_000_000


def check_cameras(cameras: Sequence[str], known: Sequence[str]) -> None:
    """Raises ConfigError if a camera is not among the known ones."""
    for name in cameras:
        if name not in known:
            raise ConfigError(f'unknown camera "{name}"{suggestion(name, known)}; known: {", ".join(known)}')


def read_split(folder: Path, split: str) -> list[str]:
    """Frame numbers of a list such as ``ImageSets/val.txt``. Raises ConfigError or DataError."""
    path = folder / f"{split}.txt"
    if not path.is_file():
        known = sorted(entry.stem for entry in folder.glob("*.txt"))
        listed = ", ".join(known) or "none"
        raise ConfigError(f'{folder} has no split "{split}"{suggestion(split, known)}; it has {listed}')
    tokens = path.read_text(encoding="utf-8").split()
    for token in tokens:
        if not token.isdigit():
            raise DataError(path, "frame", "a number such as 000008", token)
    return tokens


def read_numbers(path: Path) -> dict[str, list[str]]:
    """The lines ``NAME: VALUE VALUE ...`` of a calibration file, by name. Raises DataError if it is absent."""
    if not path.is_file():
        raise DataError(path, "file", "a calibration file", "no such file")
    lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {name.strip(): values.split() for name, colon, values in lines if colon}


def matrix_of(path: Path, entries: Mapping[str, Sequence[str]], name: str, rows: int, columns: int) -> Tensor:
    """(rows, columns) float64 matrix of one line. Raises DataError if it is absent or has another size."""
    try:
        values = [float(value) for value in entries[name]]
    except (KeyError, ValueError) as error:
        raise DataError(path, name, f"{rows * columns} numbers", repr(error)) from error
    if len(values) != rows * columns:
        raise DataError(path, name, f"{rows * columns} numbers", f"{len(values)}")
    return torch.tensor(values, dtype=torch.float64).view(rows, columns)


def rigid(path: Path, name: str, matrix: Tensor) -> SE3:
    """The transform of a (3, 3) or (3, 4) matrix. Raises DataError if its rotation is none."""
    if matrix.shape == (3, 3):
        matrix = torch.cat([matrix, matrix.new_zeros(3, 1)], dim=1)
    try:
        return SE3.from_matrix(matrix)
    except ValueError as error:
        raise DataError(path, name, "a rigid transform", error) from error


def read_calibration(path: Path) -> KittiCalibration:
    """Camera 2 of ``calib/NNNNNN.txt``. Raises DataError if a line is absent or malformed."""
    entries = read_numbers(path)
    rectified = rigid(path, "R0_rect", matrix_of(path, entries, "R0_rect", 3, 3))
    camera_from_lidar = rigid(path, "Tr_velo_to_cam", matrix_of(path, entries, "Tr_velo_to_cam", 3, 4))
    return KittiCalibration((rectified @ camera_from_lidar).inverse(), matrix_of(path, entries, "P2", 3, 4))


def read_labels(path: Path) -> tuple[list[str], KittiRows]:
    """Types and boxes of ``label_2/NNNNNN.txt``, DontCare regions included; an empty file is an empty frame.

    Raises:
        DataError: the file is absent, or a line has not 15 columns (16 with a score).
    """
    names, table = read_label_columns(path)
    return names, KittiRows(location=table[:, 10:13], size_hwl=table[:, 7:10], rotation_y=table[:, 13])


def read_label_columns(path: Path) -> tuple[list[str], Tensor]:
    """Types, and (K, 15) float64: truncated, occluded, alpha, left, top, right, bottom, height, width, length, x, y,
    z, rotation_y, and the score, which is NaN where the line has none. Raises DataError as `read_labels` does."""
    if not path.is_file():
        raise DataError(path, "file", "a label file", "no such file")
    names, numbers = [], []
    for place, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, *values = line.split() or [""]
        if not name:
            continue
        try:
            row = [float(value) for value in values]
        except ValueError as error:
            raise DataError(path, f"line {place}", "numbers after the type", error) from error
        if len(row) not in (14, 15):
            raise DataError(path, f"line {place}", "15 columns, or 16 with a score", f"{1 + len(row)}")
        names.append(name)
        numbers.append(row if len(row) == 15 else [*row, math.nan])
    return names, torch.tensor(numbers, dtype=torch.float64).view(-1, 15)


def read_camera(path: Path, calibration: KittiCalibration, timestamp_ns: int) -> Camera:
    """A picture that is not decoded yet; its size is read from its header. Raises DataError if that cannot be read."""
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise DataError(path, "picture", "a file", "no such file")
    try:
        with Image.open(path) as picture:
            width, height = picture.size
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(path, "picture", "a readable image", error) from error
    return Camera(calibration.camera(width, height), timestamp_ns, source=path)
