"""One log of the Argoverse 2 sensor data set: 10 Hz sweeps with poses; pictures and boxes as far as there are any."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ...datasets.argoverse2 import Argoverse2Dataset, index_source
from ...datasets.argoverse2_log import CAMERAS, Log
from ...datasets.index import write_index
from ...errors import DataError
from ..indexed_source import IndexedSource


class Argoverse2LogSource(IndexedSource):
    """One log folder.

    Args:
        path: the folder, with ``sensors/lidar`` and ``city_SE3_egovehicle.feather``.
        map_region: x0, y0, x1, y1 [m] of `Frame.vector_map`, which is None without it.

    Raises:
        DataError: there is no sweep, or a table is absent or malformed.
    """

    NAME = "argoverse2"
    LAYOUT = "an Argoverse 2 log folder with sensors/lidar"
    OPTIONS = frozenset({"map_region"})

    def __init__(self, path: str, map_region: Sequence[float] | None = None) -> None:
        folder = Path(path).resolve()
        if not any((folder / "sensors/lidar").glob("*.feather")):
            raise DataError(folder / "sensors/lidar", "sweeps", "files TIMESTAMP_NS.feather", "none")
        cameras = [name for name in CAMERAS if any((folder / "sensors/cameras" / name).glob("*.jpg"))]
        source = index_source("val")                       # a log is read alike in every split
        with tempfile.TemporaryDirectory() as temporary:
            index = Path(temporary) / "log.parquet"
            write_index(index, Log(folder.parent, folder).records(max_sweeps=0), source)
            self.dataset = Argoverse2Dataset(
                folder.parent, split="val", index=index, num_sweeps=0, cameras=cameras,
                map=None if map_region is None else {"region": map_region},
            )

    @classmethod
    def can_read(cls, path: str) -> bool:
        """A log's folder with sensors/lidar."""
        return (Path(path) / "sensors" / "lidar").is_dir()
