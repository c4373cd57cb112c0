"""A folder of pictures, played in the order of their names: a video's frames, or one camera of another recording."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ...datasets.picture_dataset import CAMERA, PICTURE_SUFFIXES
from ...datasets.point_cloud_folder import in_order, timestamps_of
from ...errors import ConfigError, DataError
from ...structures import Camera, Frame
from ..source import FrameSource, PendingFrame

CUSTOMARY_FPS = 10.0                                       # of driving recordings


class PictureFolderSource(FrameSource):
    """Pictures of any size without calibration, points or labels; a frame is called after its file.

    Args:
        path: the folder; files in folders below are not looked at.
        fps: pictures a second; by default names that are Unix times tell the time, and others are 10 a second.

    Raises:
        DataError: there is no picture, or there are two of one name.
        ConfigError: ``fps`` is not positive.
    """

    NAME = "pictures"
    LAYOUT = f"a folder of pictures ({', '.join(PICTURE_SUFFIXES)})"
    OPTIONS = frozenset({"fps"})
    LAST_RESORT = True                                     # other recordings have such files too

    def __init__(self, path: str, fps: float | None = None) -> None:
        if fps is not None and not 0 < fps < float("inf"):
            raise ConfigError(f"fps must be a number > 0, got {fps}")
        self.folder = Path(path)
        self.files = in_order(_pictures(self.folder))
        if not self.files:
            raise DataError(self.folder, "folder", f"pictures ({', '.join(PICTURE_SUFFIXES)})", "none")
        by_name: dict[str, Path] = {}
        for file in self.files:
            first = by_name.setdefault(file.stem, file)
            if first != file:
                raise DataError(self.folder, f"picture {file.stem}", "one file", f"{first.name} and {file.name}")
        if fps is None:
            self.timestamps = timestamps_of([file.stem for file in self.files], CUSTOMARY_FPS)
        else:
            self.timestamps = [round(place * 1e9 / fps) for place in range(len(self.files))]

    @classmethod
    def can_read(cls, path: str) -> bool:
        """A folder with picture files."""
        return bool(_pictures(Path(path)))

    def __len__(self) -> int:
        return len(self.files)

    def pending(self) -> Iterator[PendingFrame]:
        """Its pictures in order."""
        for place, timestamp_ns in enumerate(self.timestamps):
            yield PendingFrame(timestamp_ns, partial(self._load, place), cameras=(CAMERA,))

    def _load(self, place: int) -> Frame:
        file, time = self.files[place], self.timestamps[place]
        return Frame(file.stem, time, self.folder.name, cameras={CAMERA: Camera(None, time, source=file)})


def _pictures(folder: Path) -> list[Path]:
    """Picture files in a folder; none if it is no folder."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()]
