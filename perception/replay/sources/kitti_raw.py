"""One drive of KITTI's raw recordings: 10 Hz sweeps with the left colour picture."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ...datasets.kitti_raw import PICTURES, KittiRawDrive
from ..source import FrameSource, PendingFrame


class KittiRawSource(FrameSource):
    """One drive folder; with poses (``oxts/`` or ``poses_icp_estimated.txt``) past frames serve as sweeps.

    Args:
        path: the folder, with ``velodyne_points/data``.

    Raises:
        DataError: there is no sweep, or a file is malformed.
    """

    NAME = "kitti_raw"
    LAYOUT = "a KITTI raw drive with velodyne_points/data"

    def __init__(self, path: str) -> None:
        root = Path(path)
        calibrated = any((folder / "calib_cam_to_cam.txt").is_file() for folder in (root, root.resolve().parent))
        cameras = [name for name in PICTURES if calibrated and any((root / name / "data").glob("*.png"))]
        self.dataset = KittiRawDrive(root, cameras=cameras)

    @classmethod
    def can_read(cls, path: str) -> bool:
        """A drive's folder with velodyne_points."""
        return (Path(path) / "velodyne_points").is_dir()

    def __len__(self) -> int:
        return len(self.dataset)

    def pending(self) -> Iterator[PendingFrame]:
        """Its sweeps, oldest first."""
        poses, cameras = self.dataset.global_from_ego, self.dataset.cameras
        for index, timestamp_ns in enumerate(self.dataset.timestamps):
            pose = poses[index] if poses else None
            yield PendingFrame(timestamp_ns, partial(self.dataset.load, index), pose, cameras)
