"""Pictures of which it is known where on Earth they were taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from ..geo.coordinates import RANGE, first_fault
from ..structures import Camera, Frame, GeoLabel
from ..structures.geo import UNKNOWN_SCENE
from .base import FrameDataset
from .picture_dataset import CAMERA


class GeotaggedDataset(FrameDataset):
    """Frames with one camera, `CAMERA`, without calibration, and `Frame.wgs84`.

    A partition is made of its ``latlng``; `LabelGeoCells` among the transforms then tells each frame its cells.
    """

    places: np.ndarray                               # (N, 3) float64 latitude, longitude [deg] and altitude [m]

    @property
    def latlng(self) -> np.ndarray:
        """(N, 2) float64 latitude and longitude [deg] of every picture."""
        return self.places[:, :2]

    def __len__(self) -> int:
        return len(self.places)

    def frame_of(
        self, index: int, token: str, path: Path, *, timestamp_ns: int = 0, drive: str = "", scene: int = UNKNOWN_SCENE
    ) -> Frame:
        """The frame of a picture that is still to be read.

        Args:
            index: its number, which tells its place.
            token: its name.
            path: its file.
            timestamp_ns: its time [ns].
            drive: name of the drive it belongs to.
            scene: label of the kind of scene.

        Raises:
            DataError: the file is absent.
        """
        if not path.is_file():
            raise DataError(path, "picture", "an image file", "no such file")
        latitude, longitude, altitude = self.places[index].tolist()
        return Frame(
            token=token, timestamp_ns=timestamp_ns, scene=drive, wgs84=(latitude, longitude, altitude),
            cameras={CAMERA: Camera(None, timestamp_ns, source=path)}, geo_label=GeoLabel(scene=scene),
        )


def check_places(source: Path, places: np.ndarray, first_row: int = 0) -> None:
    """Raise DataError if a row of (N, 2 or 3) places is none on Earth; tells its number and swapped columns.

    Args:
        source: the file that the rows come from.
        places: latitude and longitude [deg], maybe the altitude [m].
        first_row: number of the first row.
    """
    fault = first_fault(places[:, :2])
    if fault is not None:
        row, got = fault
        raise DataError(source, f"row {first_row + row}", RANGE, got)
