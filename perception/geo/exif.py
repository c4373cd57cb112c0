"""Where a picture was taken, from its EXIF data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import DataError

GPS_DIRECTORY = 0x8825
LATITUDE, LONGITUDE, ALTITUDE = 2, 4, 6              # tags; the one before each tells its sign
WEST_OR_SOUTH = ("S", "W")


def read_exif_position(path: Path | str) -> tuple[float, float, float]:
    """Latitude, longitude [deg] and altitude [m] (0 if it is not told) of a picture's EXIF data.

    Raises:
        DataError: the file is absent or no picture, or its EXIF data tell no position or a malformed one.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            tags = dict(image.getexif().get_ifd(GPS_DIRECTORY))
    except FileNotFoundError as error:
        raise DataError(path, "picture", "an image file", "no such file") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:    # Pillow's ways to refuse a file
        raise DataError(path, "picture", "a readable image", error) from error
    latitude, longitude = (_degrees(tags, tag, path) for tag in (LATITUDE, LONGITUDE))
    below = tags.get(ALTITUDE - 1) in (1, b"\x01")
    altitude = float(tags.get(ALTITUDE, 0.0))
    return latitude, longitude, -altitude if below else altitude


def _degrees(tags: dict[int, Any], tag: int, path: Path | str) -> float:
    name = "GPS latitude" if tag == LATITUDE else "GPS longitude"
    try:
        degrees, minutes, seconds = (float(part) for part in tags[tag])
        sign = -1.0 if str(tags[tag - 1]).strip("\0 ").upper() in WEST_OR_SOUTH else 1.0
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        expected = "degrees, minutes and seconds with a reference, in the EXIF data"
        raise DataError(path, name, expected, tags.get(tag, "none")) from error
    return sign * (degrees + minutes / 60 + seconds / 3600)
