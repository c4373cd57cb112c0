"""KITTI's object detection frames, one after the other; they stand alone, so there are no sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ...datasets.kitti import PICTURES, KittiDataset, frame_time
from ...errors import DataError
from ..source import FrameSource, PendingFrame


class KittiObjectSource(FrameSource):
    """The frames of one list in ``ImageSets``, at the 10 Hz that their numbers stand for.

    Args:
        path: the root, with ``training/velodyne`` and ``ImageSets``.
        scene: name of the list; by default the only one, else "val".

    Raises:
        DataError: there is no list, or a file is malformed.
        ConfigError: there is no such list.
    """

    NAME = "kitti_object"
    LAYOUT = "a KITTI object root with training/velodyne"
    OPTIONS = frozenset({"scene"})

    def __init__(self, path: str, scene: str | None = None) -> None:
        root = Path(path)
        lists = sorted(entry.stem for entry in (root / "ImageSets").glob("*.txt"))
        if not lists:
            raise DataError(root / "ImageSets", "lists", "files such as val.txt", "none")
        split = scene or (lists[0] if len(lists) == 1 else "val")
        folder = root / ("testing" if split == "test" else "training")
        cameras = [name for name in PICTURES if any((folder / name).glob("*.png"))]
        self.dataset = KittiDataset(root, split=split, cameras=cameras)

    @classmethod
    def can_read(cls, path: str) -> bool:
        """A folder with training/velodyne or testing/velodyne."""
        return any((Path(path) / part / "velodyne").is_dir() for part in ("training", "testing"))

    def __len__(self) -> int:
        return len(self.dataset)

    def pending(self) -> Iterator[PendingFrame]:
        """Its frames by name; they are of many drives."""
        for index, token in enumerate(self.dataset.frame_tokens):
            yield PendingFrame(frame_time(token), partial(self.dataset.load, index), cameras=self.dataset.cameras)
