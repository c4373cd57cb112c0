"""Places on Earth as (N, 2) float64 latitude and longitude in degrees: checks, and distances between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

EARTH_RADIUS_KM = 6371.009                           # of the sphere with the Earth's mean radius
LIMITS = (90.0, 180.0)                               # of the latitude and of the longitude, either way
RANGE = "a latitude in [-90, 90] and a longitude in [-180, 180]"


def checked_latlng(latlng: ArrayLike) -> np.ndarray:
    """(N, 2) float64 latitude and longitude [deg].

    Float32 degrees are taken too, but they tell a place to about a metre only.

    Raises:
        ValueError: the shape is another, or a row is no place on Earth; names the row and tells if the two columns
            seem to be swapped.
    """
    places = np.asarray(latlng, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"latlng must be (N, 2) latitudes and longitudes, got {places.shape}")
    fault = first_fault(places)
    if fault is not None:
        row, got = fault
        raise ValueError(f"latlng: row {row}: expected {RANGE}, got {got}")
    return places


def first_fault(places: np.ndarray) -> tuple[int, str] | None:
    """The first row of (N, 2) float64 that is no place on Earth, and what stands there; None if all are.

    Swapped columns are told by their range: some latitude goes beyond 90 degrees, and none would if it were the
    longitude. Where all longitudes lie within 90 degrees of Greenwich, they can't be told.
    """
    with np.errstate(invalid="ignore"):
        inside = np.abs(places) <= LIMITS                                          # (N, 2), False for NaN
    good = inside.all(axis=1)
    if good.all():
        return None
    finite = places[np.isfinite(places).all(axis=1)]
    row = int(np.argmin(good))
    latitude, longitude = places[row].tolist()
    swapped = bool((np.abs(finite[:, ::-1]) <= LIMITS).all()) and not inside[row, 0] and np.isfinite(latitude)
    hint = "; latitude and longitude seem to be swapped" if swapped else ""
    return row, f"{latitude:g}, {longitude:g}{hint}"


def great_circle_km(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Lengths of the shortest ways over a sphere of `EARTH_RADIUS_KM` (Vincenty's formula, stable at any distance).

    Args:
        first, second: (N, 2) latitudes and longitudes [deg]; float64, since float32 is good to about a metre only.

    Returns:
        (N,) float64 [km].

    Raises:
        ValueError: the numbers of places differ, or see `checked_latlng`.
    """
    first, second = checked_latlng(first), checked_latlng(second)
    if first.shape != second.shape:
        raise ValueError(f"first and second must be equally many places, got {len(first)} and {len(second)}")
    (lat1, lon1), (lat2, lon2) = np.radians(first).T, np.radians(second).T
    turn = lon2 - lon1
    across = np.cos(lat2) * np.sin(turn)
    up = np.cos(lat1) * np.sin(lat2) - np.sin(lat1) * np.cos(lat2) * np.cos(turn)
    along = np.sin(lat1) * np.sin(lat2) + np.cos(lat1) * np.cos(lat2) * np.cos(turn)
    return EARTH_RADIUS_KM * np.arctan2(np.hypot(across, up), along)
