"""Waymo Open Dataset, perception: 1,150 segments of 20 s with five LiDARs and five cameras, boxes at 10 Hz.

Sun et al., "Scalability in perception for autonomous driving: Waymo Open Dataset", CVPR 2020. Both formats are read
without TensorFlow: TFRecords (v1) and a Parquet file for each component (v2), which has no maps and no no-label zones.
Points and boxes are given in the vehicle frame about the middle of the sweep, points moved there pixel by pixel; the
vehicle frame is ours (x forward, y left, z up). Cameras are turned from Waymo's axes (x out of the lens) to ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, suggestion
from ..registry import DATASETS
from ..structures import Frame, PointCloud
from .base import Transform
from .index import FrameRecord, IndexSource, SweepRecord, write_index
from .indexed_dataset import IndexedDataset
from .maps.waymo_map import read_waymo_map
from .maps.window import MapWindow
from .maps.world_map import WorldMap
from .waymo.frames import RETURNS, WaymoFrame
from .waymo.points import point_cloud, point_labels_of
from .waymo.segments import file_rows, open_frame, segment_files, with_sweeps

CLASSES = ("Vehicle", "Pedestrian", "Cyclist", "Sign")
SCORED = CLASSES[:3]                                 # what detectors of the challenge find
CAMERAS = ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "SIDE_LEFT", "SIDE_RIGHT")
SPLITS = {"train": "training", "val": "validation", "test": "testing"}      # and their folders
UNLABELLED = ("test",)


@DATASETS.register_module()
class WaymoDataset(IndexedDataset):
    """Frames of one split; see `IndexedDataset` for the index and `FrameDataset` for transforms.

    Points have the channels of `perception.datasets.waymo.points`: x, y, z, intensity (tanh of what the sensor says),
    elongation, the number of the return, that of the laser (TOP 1, FRONT 2, SIDE_LEFT 3, SIDE_RIGHT 4, REAR 5) and 1 in
    a no-label zone. Frames are named SEGMENT/MICROSECONDS, scenes by their segment, tracks by the labels' ids.
    `Annotations.attributes` are "LEVEL_1" or "LEVEL_2" where the difficulty was judged. `ego_from_lidar` is that of the
    laser TOP. Pictures have labels where the data set has panoptic ones; their distortion is left as it is.

    Args:
        root: folder with ``training/``, ``validation/`` and ``testing/``, each of either format.
        split: one of `SPLITS`; frames of "test" are not annotated.
        segments: only these; all of the split by default.
        index: Parquet file made by `build_waymo_index`; by default it lies in ``root``.
        num_sweeps: earlier sweeps in `Frame.sweeps`, newest first.
        returns: which returns of the lasers, 1 and 2 or one of them.
        cameras: some of `CAMERAS`.
        map: options of a `MapWindow`, such as ``region=(-30, -15, 30, 15)`` and ``dim=3``, to fill `Frame.vector_map`
            from the segment's map, which TFRecords alone have; no map by default.
        point_labels: whether to fill `Frame.point_labels` in the frames that have some (of the laser TOP alone).
        classes: some of `CLASSES`, in the order of the labels; None takes all.

    Raises:
        DataError: the index is absent, of an older schema or of another split.
        ConfigError: a split, segment, class, camera, return or option of the map is unknown.
    """

    METAINFO = {"classes": CLASSES}
    CAMERAS = CAMERAS

    def __init__(
        self,
        root: str | Path,
        *,
        split: str = "train",
        segments: Sequence[str] | None = None,
        index: str | Path | None = None,
        num_sweeps: int = 0,
        returns: Sequence[int] = RETURNS,
        cameras: Sequence[str] = (),
        map: Mapping[str, Any] | MapWindow | None = None,
        point_labels: bool = False,
        classes: Sequence[str] | None = SCORED,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        if not returns or not set(returns) <= set(RETURNS):
            raise ConfigError(f"returns must be some of {RETURNS}, got {tuple(returns)}")
        super().__init__(
            root, index_source(split), index=index, only_scenes=segments, num_sweeps=num_sweeps, cameras=cameras,
            map=map, classes=classes, transforms=transforms, seed=seed,
        )
        self.returns = tuple(returns)
        self.point_labels = point_labels

    def load(self, index: int) -> Frame:
        """Read one frame with its pictures; see `IndexedDataset.load`."""
        record = self.index.record(index)
        cameras = self.cameras_of(record)
        moment = self._open(record.lidar, cameras)
        returns = moment.returns(self.returns, labels=self.point_labels)
        frame = self.frame_of(record, point_cloud(returns), {name: moment.camera(name) for name in cameras})
        return replace(frame, point_labels=point_labels_of(returns, moment.place)) if self.point_labels else frame

    def no_label_zones(self, index: int) -> tuple[np.ndarray, ...]:
        """Outlines of the areas of a frame in which objects are not labelled: (V, 2) float64 each, global frame [m]."""
        return tuple(zone.outline for zone in self._open(self.index.record(index).lidar, ()).no_label_zones)

    def sweep_reader(self, sweep: SweepRecord) -> Callable[[], PointCloud]:
        """Reads the returns of a sweep that `load` reads, too."""
        return partial(read_sweep, self.root / sweep.path, sweep, self.returns)

    def world_map(self, record: FrameRecord) -> WorldMap:
        """The map of the segment that a frame belongs to."""
        first = self.index.record(self.index.scenes.index(record.scene)).lidar
        path = self.root / first.path
        if first.offset is None:
            raise DataError(path, "map", "a TFRecord, since Waymo's second format has no maps", "a Parquet file")
        return read_waymo_map(path, first.offset)

    def class_of(self, category: str) -> str | None:
        """Categories are the classes, and "Unknown"."""
        return category if category in CLASSES else None

    def _open(self, sweep: SweepRecord, cameras: Sequence[str]) -> WaymoFrame:
        return open_frame(self.root / sweep.path, sweep, cameras)


def read_sweep(path: Path, sweep: SweepRecord, returns: Sequence[int] = RETURNS) -> PointCloud:
    """Points of one sweep, in the vehicle frame of its own pose.

    Args:
        path: of the file that ``sweep`` names.
        sweep: of the index.
        returns: which returns of the lasers, 1 and 2.

    Raises:
        DataError: the file is absent, or the frame malformed.
    """
    return point_cloud(open_frame(path, sweep).returns(returns))


def index_source(split: str, max_sweeps: int = 10) -> IndexSource:
    """The index of a split. Raises ConfigError if there is none such."""
    if split not in SPLITS:
        raise ConfigError(f'Waymo has no split "{split}"{suggestion(split, SPLITS)}; it has {", ".join(SPLITS)}')
    return IndexSource("waymo", split, max_sweeps=max_sweeps)


def build_waymo_index(
    root: str | Path,
    split: str,
    out: str | Path | None = None,
    *,
    max_sweeps: int = 10,
    skip_corrupt: bool = False,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> tuple[Path, int]:
    """Read every frame but its range images and pictures, and write the index of one split.

    Args:
        root: folder with ``training/`` and others; nothing is written there if ``out`` lies elsewhere.
        split: one of `SPLITS`.
        out: Parquet file; by default it lies in ``root``.
        max_sweeps: earlier sweeps to list with each sweep.
        skip_corrupt: leave corrupt records out, with a warning each, instead of failing.
        progress: wraps the list of files, to show a bar.

    Returns:
        The file written, and the number of corrupt records that were left out.

    Raises:
        DataError: the split has no frame, a segment is there twice, or a file is malformed (names the record).
        ConfigError: the split is unknown.
    """
    root, source = Path(root), index_source(split, max_sweeps)
    path = source.default_path(root) if out is None else Path(out)
    files, skipped = segment_files(root / SPLITS[split]), 0

    def records() -> Iterator[FrameRecord]:
        nonlocal skipped
        seen: dict[str, Path] = {}
        for file in progress(files):
            rows, corrupt = file_rows(root, file, labelled=split not in UNLABELLED, skip_corrupt=skip_corrupt)
            skipped += corrupt
            for segment in dict.fromkeys(row.scene for row in rows):
                if segment in seen:
                    raise DataError(file, "segment", "one that no other file has", f"{segment} as in {seen[segment]}")
                seen[segment] = file
            yield from with_sweeps(rows, max_sweeps)
        if not seen:
            raise DataError(root / SPLITS[split], "frames", "at least one that is whole", f"none in {len(files)} files")

    write_index(path, records(), source)
    return path, skipped
