"""Argoverse 2 Sensor: 1,000 logs of 15 s with two 32-beam LiDARs, nine cameras and boxes at 10 Hz.

Wilson et al., "Argoverse 2: Next generation datasets for self-driving perception and forecasting", NeurIPS 2021.
Points and boxes are given in the ego frame at the sweep's time (origin: rear axle), already motion compensated; sizes
are length, width, height. Velocities are not given: they come from a track's neighbouring boxes in the city frame, by
the rule that nuScenes uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError, DataError, suggestion
from ..registry import DATASETS
from ..structures import SE3, PointCloud
from .argoverse2_log import CAMERAS, Log
from .base import Transform
from .index import FrameRecord, IndexSource, write_index
from .indexed_dataset import IndexedDataset
from .maps.argoverse2_map import read_argoverse2_map
from .maps.window import MapWindow
from .maps.world_map import WorldMap
from .point_files import read_feather

CLASSES = (
    "ARTICULATED_BUS", "BICYCLE", "BICYCLIST", "BOLLARD", "BOX_TRUCK", "BUS", "CONSTRUCTION_BARREL",
    "CONSTRUCTION_CONE", "DOG", "LARGE_VEHICLE", "MESSAGE_BOARD_TRAILER", "MOBILE_PEDESTRIAN_CROSSING_SIGN",
    "MOTORCYCLE", "MOTORCYCLIST", "PEDESTRIAN", "REGULAR_VEHICLE", "SCHOOL_BUS", "SIGN", "STOP_SIGN", "STROLLER",
    "TRUCK", "TRUCK_CAB", "VEHICULAR_TRAILER", "WHEELCHAIR", "WHEELED_DEVICE", "WHEELED_RIDER",
)   # the 26 scored categories, which are the classes; ANIMAL and three others are annotated but not scored
SPLITS = ("train", "val", "test")
POINT_COLUMNS = ("x", "y", "z", "intensity", "ring", "offset_ns")    # of laser_number we make ring


@DATASETS.register_module()
class Argoverse2Dataset(IndexedDataset):
    """Sweeps of one split; see `IndexedDataset` for the index and `FrameDataset` for transforms.

    Points have the channels x, y, z, intensity in [0, 1], ring (0..63, both LiDARs) and offset_ns, the time after
    `Frame.timestamp_ns`. Frames are named LOG/TIMESTAMP_NS, scenes by their log, tracks by track_uuid.

    Args:
        root: the folder ``sensor``, which holds ``train/``, ``val/`` and ``test/``.
        split: one of `SPLITS`.
        logs: only these logs; all of the split by default.
        index: Parquet file made by `build_argoverse2_index`; by default it lies in ``root``.
        num_sweeps: earlier sweeps in `Frame.sweeps`, newest first.
        cameras: some of `CAMERAS`.
        map: options of a `MapWindow`, such as ``region=(-30, -15, 30, 15)`` and ``dim=3``, to fill `Frame.vector_map`
            from the log's map; no map by default.
        classes: some of `CLASSES`, in the order of the labels.

    Raises:
        DataError: the index is absent, of an older schema or of another split.
        ConfigError: a split, log, class, camera or option of the map is unknown (the nearest one is suggested).
    """

    METAINFO = {"classes": CLASSES}
    CAMERAS = CAMERAS

    def __init__(
        self,
        root: str | Path,
        *,
        split: str = "train",
        logs: Sequence[str] | None = None,
        index: str | Path | None = None,
        num_sweeps: int = 4,
        cameras: Sequence[str] = (),
        map: Mapping[str, Any] | MapWindow | None = None,
        classes: Sequence[str] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(
            root, index_source(split), index=index, only_scenes=logs, num_sweeps=num_sweeps, cameras=cameras,
            map=map, classes=classes, transforms=transforms, seed=seed,
        )

    def world_map(self, record: FrameRecord) -> WorldMap:
        """The map of the log that a frame belongs to."""
        return read_argoverse2_map((self.root / record.lidar.path).parents[2] / "map")

    def class_of(self, category: str) -> str | None:
        """Argoverse 2 annotates the classes themselves."""
        return category

    @staticmethod
    def read_sweep(path: Path, ego_from_lidar: SE3 | None) -> PointCloud:
        """Points of one sweep. They lie in the ego frame already, whatever the LiDAR's pose."""
        points, names = read_feather(path, POINT_COLUMNS)
        points[:, 3] /= 255.0
        return PointCloud(torch.from_numpy(points), names)


def index_source(split: str, max_sweeps: int = 10) -> IndexSource:
    """The index of a split. Raises ConfigError if there is none such."""
    if split not in SPLITS:
        raise ConfigError(f'Argoverse 2 has no split "{split}"{suggestion(split, SPLITS)}; it has {", ".join(SPLITS)}')
    return IndexSource("argoverse2", split, max_sweeps=max_sweeps)


def build_argoverse2_index(
    root: str | Path,
    split: str,
    out: str | Path | None = None,
    *,
    max_sweeps: int = 10,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Path:
    """Read poses, calibrations and annotations of every log and write the index of one split.

    Args:
        root: the folder ``sensor``; nothing is written there if ``out`` lies elsewhere.
        split: one of `SPLITS`.
        out: Parquet file; by default it lies in ``root``.
        max_sweeps: earlier sweeps to list with each sweep.
        progress: wraps the list of logs, to show a bar.

    Returns:
        The file written.

    Raises:
        DataError: the split has no log, or a table of a log is absent or malformed.
        ConfigError: the split is unknown.
    """
    root, source = Path(root), index_source(split, max_sweeps)
    folder = root / split
    logs = sorted(path.parents[1] for path in folder.glob("*/sensors/lidar")) if folder.is_dir() else []
    if not logs:
        raise DataError(folder, "logs", "folders LOG/sensors/lidar", "none")
    path = source.default_path(root) if out is None else Path(out)
    records = (record for log in progress(logs) for record in Log(root, log).records(max_sweeps))
    write_index(path, records, source)
    return path
