"""Pictures of an index with the place on Earth where each was taken."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property

import numpy as np

from ..structures import Frame
from .indexed_pictures import IndexedPictures


class IndexedPlaces(IndexedPictures):
    """One camera's picture a frame, with `Frame.wgs84` of the vehicle at the picture's own time.

    A partition is made of its ``latlng``; `LabelGeoCells` among the transforms then tells each frame its cells. The
    altitude is the height in the data set's global frame, which need not be that above the ellipsoid.
    """

    @abstractmethod
    def to_latlng(self, xy: np.ndarray, drive: str) -> np.ndarray:
        """(N, 2) points of a drive's global frame [m] -> (N, 2) latitude and longitude [deg]."""

    @cached_property
    def places(self) -> np.ndarray:
        """(N, 3) float64 latitude, longitude [deg] and altitude [m] of every picture; all that a partition takes."""
        rows, names, xyz = self.index.camera_places()
        drives = np.array(self.index.scenes, object)[rows]
        places = np.empty_like(xyz)
        for drive in dict.fromkeys(drives):
            inside = drives == drive
            places[inside, :2] = self.to_latlng(xyz[inside, :2], drive)
        places[:, 2] = xyz[:, 2]
        number = {picture: place for place, picture in enumerate(zip(rows.tolist(), names, strict=True))}
        return places[[number[picture] for picture in self.pictures]]

    @property
    def latlng(self) -> np.ndarray:
        """(N, 2) float64 latitude and longitude [deg] of every picture."""
        return self.places[:, :2]

    def load(self, index: int) -> Frame:
        """One picture, as a file to read later, with its place."""
        latitude, longitude, altitude = self.places[index].tolist()
        return replace(super().load(index), wgs84=(latitude, longitude, altitude))
