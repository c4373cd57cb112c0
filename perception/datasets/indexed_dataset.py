"""Data sets whose frames are listed in a Parquet index: the way from a row to a `Frame` is the same for all of them."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, DataError, suggestion
from ..structures import (
    SE3,
    Annotations,
    Boxes3D,
    Calibration,
    Camera,
    Frame,
    NuScenesRows,
    PixelLabels,
    PointCloud,
    Sweep,
)
from ..structures.vector_map import VectorMap
from .base import FrameDataset, Transform, count_labels, labels_of
from .index import CameraRecord, FrameIndex, FrameRecord, IndexSource, ObjectRecord, SweepRecord, pose_from_row
from .maps.window import MapWindow
from .maps.world_map import WorldMap

logger = logging.getLogger(__name__)


class IndexedDataset(FrameDataset):
    """Frames of an index; a subclass says how a sweep is read and which class a category is.

    Args:
        root: folder of the data set.
        source: what the index must have been made from.
        index: Parquet file of the index; by default it lies in ``root``.
        only_scenes: names of the drives to keep; all by default.
        num_sweeps: earlier sweeps to offer in `Frame.sweeps`; fewer stand there at the start of a drive.
        cameras: names of the cameras to load; none by default.
        map: options of a `MapWindow`, such as ``region``, to fill `Frame.vector_map`; no map by default.
        classes, transforms, seed: see `FrameDataset`.

    Raises:
        DataError: the index is absent or of another schema version, version or split.
        ConfigError: a class, camera, drive or option of the map is unknown, or the index lists fewer sweeps than asked
            for.
    """

    CAMERAS: tuple[str, ...] = ()

    def __init__(
        self,
        root: str | Path,
        source: IndexSource,
        *,
        index: str | Path | None = None,
        only_scenes: Sequence[str] | None = None,
        num_sweeps: int = 0,
        cameras: Sequence[str] = (),
        map: Mapping[str, Any] | MapWindow | None = None,
        classes: Sequence[str] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(root, classes=classes, transforms=transforms, seed=seed)
        for name in cameras:
            if name not in self.CAMERAS:
                raise ConfigError(f'unknown camera "{name}"{suggestion(name, self.CAMERAS)}; known: {self.CAMERAS}')
        self.source = source
        self.index_path = source.default_path(self.root) if index is None else Path(index)
        self.only_scenes = None if only_scenes is None else tuple(only_scenes)
        self.cameras = tuple(cameras)
        self.num_sweeps = num_sweeps
        self.map_window = None if map is None else MapWindow.from_config(map)
        if not 0 <= num_sweeps <= self.index.max_sweeps:
            raise ConfigError(
                f"num_sweeps must lie in [0, {self.index.max_sweeps}] (the sweeps that {self.index_path} lists), "
                f"got {num_sweeps}"
            )
        logger.info("%d frames of %s in %s", len(self.index), source.split, self.root)

    @cached_property
    def index(self) -> FrameIndex:
        """The rows; read again in a worker that was spawned."""
        index = FrameIndex(self.index_path, self.root, self.source)
        return index if self.only_scenes is None else index.of_scenes(self.only_scenes)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("index", "_labels_by_frame")}

    @staticmethod
    def read_sweep(path: Path, ego_from_lidar: SE3 | None) -> PointCloud:
        """Points of the sweep in a file, in the ego frame of its own time; for `sweep_reader`."""
        raise NotImplementedError(f"the sweeps of {path} have no file of their own")

    def sweep_reader(self, sweep: SweepRecord) -> Callable[[], PointCloud]:
        """Reads the points of a sweep, in the ego frame of its own time; goes through the processes of a data loader.

        That of `read_sweep`, where every sweep has a file of its own.
        """
        ego_from_lidar = None if sweep.ego_from_lidar is None else pose_from_row(sweep.ego_from_lidar)
        return partial(self.read_sweep, self.root / sweep.path, ego_from_lidar)

    @abstractmethod
    def class_of(self, category: str) -> str | None:
        """Class of an annotated category; None if it is no class of the data set."""

    @abstractmethod
    def world_map(self, record: FrameRecord) -> WorldMap:
        """The map of the place where a frame was taken, read once in a process.

        Raises:
            DataError: the data set has no map there, or it is malformed.
        """

    @property
    def frame_tokens(self) -> Sequence[str]:
        """The tokens of the index, in its order."""
        return self.index.tokens

    @property
    def scenes(self) -> Sequence[str]:
        """The drive of every frame, from the index."""
        return self.index.scenes

    @property
    def metainfo(self) -> dict[str, Any]:
        """Classes, and the version and split that the index was made of."""
        return {**super().metainfo, "version": self.source.version, "split": self.source.split}

    def record(self, index: int) -> FrameRecord:
        """The row of a frame: paths, float64 poses, and objects in global coordinates as annotated."""
        return self.index.record(index)

    def cameras_of(self, record: FrameRecord) -> tuple[str, ...]:
        """Names of the cameras that `load` gives a frame, in their order."""
        present = {camera.name for camera in record.cameras}
        return tuple(name for name in self.cameras if name in present)

    def load(self, index: int) -> Frame:
        """Read one frame: points and boxes in the ego frame, pictures and earlier sweeps as files to read later."""
        record = self.index.record(index)
        ego_from_global = pose_from_row(record.lidar.global_from_ego).inverse()
        points = self.sweep_reader(record.lidar)()
        return self.frame_of(record, points, self._load_cameras(record, ego_from_global))

    def frame_of(self, record: FrameRecord, points: PointCloud, cameras: dict[str, Camera]) -> Frame:
        """The frame of a row with the points and pictures that were read for it."""
        lidar = record.lidar
        global_from_ego = pose_from_row(lidar.global_from_ego)
        ego_from_global = global_from_ego.inverse()
        return Frame(
            token=record.token,
            timestamp_ns=lidar.timestamp_ns,
            scene=record.scene,
            global_from_ego=global_from_ego,
            points=points,
            sweeps=tuple(self._sweep(sweep, ego_from_global) for sweep in record.sweeps[: self.num_sweeps]),
            cameras=cameras,
            annotations=None if record.objects is None else self._annotations(record, global_from_ego),
            ego_from_lidar=None if lidar.ego_from_lidar is None else pose_from_row(lidar.ego_from_lidar),
            vector_map=self.local_map(record, global_from_ego),
        )

    def local_map(self, record: FrameRecord, global_from_ego: SE3) -> VectorMap | None:
        """The map elements around a pose on the map of a frame; None if the data set was opened without ``map``."""
        if self.map_window is None:
            return None
        return self.world_map(record).around(global_from_ego, self.map_window)

    def class_counts(self, index: int) -> np.ndarray:
        """(classes,) int64 objects of each class in a frame, from the index alone."""
        offsets, labels = self._labels_by_frame
        return count_labels(labels[offsets[index] : offsets[index + 1]], len(self.classes))

    @cached_property
    def _labels_by_frame(self) -> tuple[list[int], np.ndarray]:
        offsets, categories = self.index.categories()
        known = {name: self.class_of(name) for name in set(categories)}
        return offsets, labels_of([known[name] for name in categories], self.classes).numpy()

    def _sweep(self, sweep: SweepRecord, ego_from_global: SE3) -> Sweep:
        return Sweep(
            timestamp_ns=sweep.timestamp_ns,
            ego_from_sweep=ego_from_global @ pose_from_row(sweep.global_from_ego),
            load=self.sweep_reader(sweep),
        )

    def _load_cameras(self, record: FrameRecord, ego_from_global: SE3) -> dict[str, Camera]:
        by_name = {camera.name: camera for camera in record.cameras}
        names = self.cameras_of(record)
        return {name: camera_of_record(by_name[name], self.root, ego_from_global) for name in names}

    def _annotations(self, record: FrameRecord, global_from_ego: SE3) -> Annotations:
        objects = record.objects or []
        labels = labels_of([self.class_of(entry.category) for entry in objects], self.classes)
        try:
            boxes = boxes_in_ego(objects, global_from_ego)
        except ValueError as error:
            where = f"objects of frame {record.token}"
            raise DataError(self.index_path, where, "unit quaternions and finite sizes", error) from error
        flat = (boxes.sizes <= 0).any(dim=1)                                        # (K,)
        if flat.any():
            logger.warning("frame %s: %d objects without a positive size get label -1", record.token, int(flat.sum()))
            labels[flat] = -1
        return Annotations(
            boxes=boxes,
            labels=labels,
            classes=self.classes,
            num_lidar_pts=torch.tensor([entry.num_lidar_pts for entry in objects], dtype=torch.int64),
            instance_ids=tuple(entry.instance for entry in objects),
            attributes=tuple(entry.attribute for entry in objects),
            visibility=torch.tensor([entry.visibility for entry in objects], dtype=torch.float32),
        )


def boxes_in_ego(objects: Sequence[ObjectRecord], global_from_ego: SE3) -> Boxes3D:
    """Boxes of annotated objects: (K, 9) float32 in the ego frame. A box's tilt against the ego frame is dropped.

    Raises:
        ValueError: a quaternion is zero, or a number of it is not finite.
    """
    rows = NuScenesRows(
        translation=_float64([entry.translation for entry in objects]),
        size_wlh=_float64([[entry.size[1], entry.size[0], entry.size[2]] for entry in objects]),
        rotation=_float64([entry.rotation for entry in objects]),
        velocity=_float64([entry.velocity for entry in objects]),
    )
    return Boxes3D.from_nuscenes(rows, global_from_ego)


def _float64(values: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def camera_of_record(
    camera: CameraRecord, root: Path, ego_from_global: SE3, labels: PixelLabels | None = None
) -> Camera:
    """A camera whose picture is still to be read, seen from an ego frame. Raises DataError if the file is absent."""
    path = root / camera.path
    if not path.is_file():
        raise DataError(path, f"picture of {camera.name}", "a file", "no such file")
    ego_from_ego_then = ego_from_global @ pose_from_row(camera.global_from_ego)
    calibration = Calibration(
        intrinsics=torch.tensor(camera.intrinsics, dtype=torch.float64).view(3, 3),
        ego_from_camera=ego_from_ego_then @ pose_from_row(camera.ego_from_camera),
        width=camera.width,
        height=camera.height,
    )
    return Camera(calibration=calibration, timestamp_ns=camera.timestamp_ns, source=path, labels=labels)
