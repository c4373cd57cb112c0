"""From the metric frames of Argoverse 2 and nuScenes to WGS84."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pyproj import Proj

from ..errors import ConfigError, suggestion

# Latitude and longitude [deg] of a city frame's origin, and the zone (north) of its map projection.
ARGOVERSE2_CITIES: Mapping[str, tuple[float, float, int]] = {
    "ATX": (30.27464237939507, -97.7404457407424, 14),
    "DTW": (42.29993066912924, -83.17555750783717, 17),
    "MIA": (25.77452579915163, -80.19656914449405, 17),
    "PAO": (37.416065, -122.13571963362166, 10),
    "PIT": (40.44177902989321, -80.01294377242584, 17),
    "WDC": (38.889377, -77.0355047439081, 18),
}
# Latitude and longitude [deg] of the south-western corners of the maps, which are the origins of the global frames.
NUSCENES_ORIGINS: Mapping[str, tuple[float, float]] = {
    "boston-seaport": (42.336849169438615, -71.05785369873047),
    "singapore-onenorth": (1.2882100868743724, 103.78475189208984),
    "singapore-hollandvillage": (1.2993652317780957, 103.78217697143555),
    "singapore-queenstown": (1.2782562240223188, 103.76741409301758),
}
NUSCENES_RADIUS = 6_378_137.0                        # metres; of the sphere on which nuScenes' own export lays its maps


def argoverse2_latlng(xy: np.ndarray, city: str) -> np.ndarray:
    """Points of an Argoverse 2 city frame: x, y are added to the origin's eastings and northings (UTM).

    Args:
        xy: (N, 2) float64, east and north of the origin [m].
        city: one of `ARGOVERSE2_CITIES`.

    Returns:
        (N, 2) float64 latitude and longitude [deg] of WGS84.

    Raises:
        ConfigError: the city is unknown (the nearest one is suggested).
    """
    if city not in ARGOVERSE2_CITIES:
        known = ", ".join(ARGOVERSE2_CITIES)
        raise ConfigError(f'Argoverse 2 has no city "{city}"{suggestion(city, ARGOVERSE2_CITIES)}; known: {known}')
    latitude, longitude, zone = ARGOVERSE2_CITIES[city]
    utm = Proj(proj="utm", zone=zone, ellps="WGS84", datum="WGS84", units="m")
    east, north = (xy + np.array(utm(longitude, latitude))).T.tolist()             # lists: pyproj warns of one number
    longitudes, latitudes = utm(east, north, inverse=True)
    return np.stack([latitudes, longitudes], axis=1)


def nuscenes_latlng(xy: np.ndarray, location: str, origins: Mapping[str, tuple[float, float]] = {}) -> np.ndarray:
    """Points of a nuScenes map as the official devkit exports them: by bearing and distance on a sphere.

    Args:
        xy: (N, 2) float64, east and north of the map's origin [m].
        location: name of the map.
        origins: latitude and longitude [deg] of the origins of further maps, or others than `NUSCENES_ORIGINS`, such
            as those of synthetic towns.

    Returns:
        (N, 2) float64 latitude and longitude [deg].

    Raises:
        ConfigError: the origin of the map is not known (the nearest name is suggested).
    """
    known = {**NUSCENES_ORIGINS, **origins}
    if location not in known:
        hint = suggestion(location, known)
        raise ConfigError(f'no origin on Earth is known of the map "{location}"{hint}; known: {", ".join(known)}')
    latitude, longitude = np.radians(known[location])
    bearing = np.arctan2(xy[:, 0], xy[:, 1])                                       # clockwise from north
    angle = np.hypot(xy[:, 0], xy[:, 1]) / NUSCENES_RADIUS
    sine = np.sin(latitude) * np.cos(angle) + np.cos(latitude) * np.sin(angle) * np.cos(bearing)
    across = np.sin(bearing) * np.sin(angle) * np.cos(latitude)
    turn = np.arctan2(across, np.cos(angle) - np.sin(latitude) * sine)
    degrees = np.degrees(np.stack([np.arcsin(sine), longitude + turn], axis=1))
    degrees[:, 1] = (degrees[:, 1] + 180.0) % 360.0 - 180.0
    return degrees
