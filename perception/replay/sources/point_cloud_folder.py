"""A folder of point cloud files, played in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ...datasets.point_cloud_folder import PointCloudFolder
from ...datasets.point_files import SUFFIXES
from ..source import FrameSource, PendingFrame

UNNAMED = frozenset({".bin", ".npy"})                            # formats without column names
KITTI_COLUMNS = ("x", "y", "z", "intensity")


class PointCloudFolderSource(FrameSource):
    """Point clouds without poses, pictures or labels.

    Args:
        path: the folder.
        columns: names of the columns; x, y, z, intensity if the format does not name them.
        ego_height: height of the sensor above the road [m].
        intensity_max: largest intensity of the files, which becomes 1.

    Raises:
        DataError: there is no point cloud, or files of several formats.
    """

    NAME = "folder"
    LAYOUT = f"a folder of point clouds ({', '.join(SUFFIXES)})"
    OPTIONS = frozenset({"columns", "ego_height", "intensity_max"})
    LAST_RESORT = True                                     # other recordings have such files too

    def __init__(
        self, path: str, columns: Sequence[str] | None = None, ego_height: float = 0.0, intensity_max: float = 1.0
    ) -> None:
        if columns is None and _suffixes(Path(path)) & UNNAMED:
            columns = KITTI_COLUMNS
        self.dataset = PointCloudFolder(path, columns, ego_height=ego_height, intensity_max=intensity_max)

    @classmethod
    def can_read(cls, path: str) -> bool:
        """A folder with files of a known suffix."""
        return bool(_suffixes(Path(path)) & frozenset(SUFFIXES))

    def __len__(self) -> int:
        return len(self.dataset)

    def pending(self) -> Iterator[PendingFrame]:
        """Its files by name, a tenth of a second apart unless their names are times."""
        for index, timestamp_ns in enumerate(self.dataset.timestamps):
            yield PendingFrame(timestamp_ns, partial(self.dataset.load, index), cameras=())


def _suffixes(folder: Path) -> set[str]:
    """Suffixes of the files in a folder; nothing if it is none."""
    return {entry.suffix.lower() for entry in folder.iterdir() if entry.is_file()} if folder.is_dir() else set()
