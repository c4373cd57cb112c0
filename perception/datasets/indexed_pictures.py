"""Data sets of single pictures whose frames are listed in a Parquet index: one camera's picture is one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError, suggestion
from ..structures import Frame, PixelLabels
from .base import FrameDataset, Transform
from .index import CameraRecord, FrameIndex, IndexSource, pose_from_row
from .indexed_dataset import camera_of_record


class IndexedPictures(FrameDataset):
    """The pictures of an index, camera by camera within each frame; a frame is "TOKEN/CAMERA" and has no points.

    Args:
        root: folder of the data set.
        source: what the index must have been made from.
        known_cameras: names of all cameras of the data set.
        index: Parquet file of the index; by default it lies in ``root``.
        only_scenes: names of the drives to keep; all by default.
        cameras: some of ``known_cameras``.

    Raises:
        DataError: the index is absent, of an older schema or of another version or split.
        ConfigError: a camera or drive is unknown (the nearest one is suggested).
    """

    def __init__(
        self,
        root: str | Path,
        source: IndexSource,
        known_cameras: Sequence[str],
        *,
        index: str | Path | None = None,
        only_scenes: Sequence[str] | None = None,
        cameras: Sequence[str],
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(root, transforms=transforms, seed=seed)
        for name in cameras:
            if name not in known_cameras:
                raise ConfigError(f'unknown camera "{name}"{suggestion(name, known_cameras)}; known: {known_cameras}')
        self.source = source
        self.index_path = source.default_path(self.root) if index is None else Path(index)
        self.only_scenes = None if only_scenes is None else tuple(only_scenes)
        self.cameras = tuple(cameras)
        self.pictures = self.list_pictures()

    @cached_property
    def index(self) -> FrameIndex:
        """The rows; read again in a worker that was spawned."""
        index = FrameIndex(self.index_path, self.root, self.source)
        return index if self.only_scenes is None else index.of_scenes(self.only_scenes)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "index"}

    def list_pictures(self) -> list[tuple[int, str]]:
        """Row of the index and camera of each picture, called once when the data set is opened; those there are."""
        rows, names, _ = self.index.camera_places()
        present = set(zip(rows.tolist(), names, strict=True))
        wanted = ((row, name) for row in range(len(self.index)) for name in self.cameras)
        return [picture for picture in wanted if picture in present]

    def labels_of(self, camera: CameraRecord) -> PixelLabels | None:
        """What the pixels of a picture show; None if they are not labelled."""
        return None

    @property
    def frame_tokens(self) -> Sequence[str]:
        """TOKEN/CAMERA of each picture."""
        return [f"{self.index.tokens[row]}/{name}" for row, name in self.pictures]

    @property
    def scenes(self) -> Sequence[str]:
        """The drive of every picture."""
        return [self.index.scenes[row] for row, _ in self.pictures]

    def __len__(self) -> int:
        return len(self.pictures)

    def load(self, index: int) -> Frame:
        """One picture, as a file to read later, with its labels if it has some."""
        row, name = self.pictures[index]
        record = self.index.picture_record(row)
        pose = pose_from_row(record.lidar.global_from_ego)
        found = {camera.name: camera for camera in record.cameras}
        if name not in found:
            raise DataError(self.index_path, f"cameras of frame {record.token}", name, ", ".join(found) or "none")
        camera = camera_of_record(found[name], self.root, pose.inverse(), self.labels_of(found[name]))
        return Frame(
            token=f"{record.token}/{name}", timestamp_ns=camera.timestamp_ns, scene=record.scene,
            global_from_ego=pose, cameras={name: camera},
        )
