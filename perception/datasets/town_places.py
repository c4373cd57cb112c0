"""Where on Earth the towns of a root lie whose global frames are metres in a plane."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..geo.local_frames import nuscenes_latlng
from .maps.sd_lines import read_json

FILE = "maps/towns.json"
NUMBERS = ("latitude", "longitude", "x", "y")


@dataclass(frozen=True)
class TownPlace:
    """A point of a drive's global frame whose place on Earth is known; x runs east from it and y north.

    Args:
        latitude, longitude: of the point [deg].
        x, y: of the point in the global frame [m].
    """

    latitude: float
    longitude: float
    x: float
    y: float

    def latlng(self, xy: np.ndarray) -> np.ndarray:
        """(N, 2) points of the global frame [m] -> (N, 2) latitude and longitude [deg], see `nuscenes_latlng`."""
        return nuscenes_latlng(xy - (self.x, self.y), "town", {"town": (self.latitude, self.longitude)})


def read_town_places(path: Path) -> dict[str, TownPlace]:
    """The place of the town of each drive, by the drive's name.

    Args:
        path: JSON file ``{"format": 1, "towns": [{"name", "latitude", "longitude", "x", "y", "drives": [...]}]}``, as
            the synthetic city has it in `FILE`.

    Raises:
        DataError: the file is absent or malformed, a town lies nowhere on Earth, or a drive is in two of them.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != 1 or not isinstance(content.get("towns"), list):
        raise DataError(path, "format", 'version 1 with a list of "towns"', type(content).__name__)
    found: dict[str, TownPlace] = {}
    for number, town in enumerate(content["towns"]):
        try:
            place = TownPlace(*(float(town[name]) for name in NUMBERS))
            drives = [str(name) for name in town["drives"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(path, f"towns[{number}]", f"{', '.join(NUMBERS)} and drives", repr(error)) from error
        if not (abs(place.latitude) <= 90 and abs(place.longitude) <= 180 and math.isfinite(place.x + place.y)):
            expected = "a latitude in [-90, 90], a longitude in [-180, 180] and finite metres"
            raise DataError(path, f"towns[{number}]", expected, place)
        for drive in drives:
            if drive in found:
                raise DataError(path, f"towns[{number}].drives", "every drive in one town", f"{drive} again")
            found[drive] = place
    return found
