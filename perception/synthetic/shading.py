"""Sun and sky light, haze and exposure of the synthetic cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def rgb(red: float, green: float, blue: float) -> np.ndarray:
    """(3,) float32 colour."""
    return np.array([red, green, blue], np.float32)


@dataclass(frozen=True, eq=False)
class Light:
    """Daylight, or what is left of it; colours are (3,) float32, linear, 1 about as bright as a sunlit white wall.

    Args:
        sun: colour of the sun; black when it is down or behind clouds, and then nothing throws a shadow.
        sky_ambient, ground_ambient: light from above and from below.
        horizon, zenith: the sky at its lower edge, which is the colour of the haze, and overhead.
        halo: brightness of the wide glow around the sun.
        haze_range: metres over which contrast falls to 1 / e.
        exposure: factor on all light before it meets the sensor.
        sun_heights: lowest and highest elevation of the sun [deg].
    """

    sun: np.ndarray
    sky_ambient: np.ndarray
    ground_ambient: np.ndarray
    horizon: np.ndarray
    zenith: np.ndarray
    halo: float = 0.10
    haze_range: float = 260.0
    exposure: float = 1.15
    sun_heights: tuple[float, float] = (25.0, 65.0)

    @property
    def throws_shadows(self) -> bool:
        """Whether there is a sun."""
        return bool(self.sun.any())


def lit(albedo: np.ndarray, normals: np.ndarray, views: np.ndarray, glossy: np.ndarray, shaded: np.ndarray,
        sun: np.ndarray, light: Light) -> np.ndarray:
    """(N, 3) float32 colour of surfaces under sun and sky.

    Args:
        albedo: (N, 3) in [0, 1].
        normals: (N, 3) unit normals that look towards the viewer.
        views: (N, 3) unit vectors from the viewer to the surface.
        glossy: (N,) whether the surface mirrors the sky, as lacquer and glass do.
        shaded: (N,) whether the sun is hidden.
        sun: (3,) unit vector towards the sun.
        light: of the hour and the weather.
    """
    direct = np.where(shaded, 0.0, np.maximum(normals @ sun, 0.0)).astype(np.float32)
    up = (0.5 + 0.5 * normals[:, 2:3]).astype(np.float32)
    color = albedo * (0.85 * direct[:, None] * light.sun + up * light.sky_ambient + (1.0 - up) * light.ground_ambient)
    shiny = np.flatnonzero(glossy)
    if len(shiny):
        n, v = normals[shiny], views[shiny]
        mirrored = mirror(v, n)
        fresnel = (0.06 + 0.6 * (1.0 - np.abs(np.einsum("ij,ij->i", v, n))) ** 4)[:, None].astype(np.float32)
        spark = np.where(shaded[shiny], 0.0, np.maximum(mirrored @ sun, 0.0) ** 60)[:, None].astype(np.float32)
        color[shiny] = color[shiny] * (1.0 - fresnel) + fresnel * sky(mirrored, sun, light) + 0.5 * spark * light.sun
    return color


def mirror(views: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(N, 3) directions in which rays along ``views`` leave mirrors with unit ``normals``; both (N, 3)."""
    return views - 2.0 * np.einsum("ij,ij->i", views, normals)[:, None] * normals


def sky(directions: np.ndarray, sun: np.ndarray, light: Light) -> np.ndarray:
    """(N, 3) float32 colour of the sky in unit directions; below the horizon a dull ground."""
    rise = np.clip(directions[:, 2:3], 0.0, 1.0).astype(np.float32)
    color = light.horizon + (light.zenith - light.horizon) * rise**0.6
    glow = np.maximum(directions @ sun, 0.0)[:, None].astype(np.float32)
    color = color + (light.halo * glow**8 + 0.5 * glow**400) * light.sun
    return np.where(directions[:, 2:3] < -0.02, 0.45 * light.horizon, color).astype(np.float32)


def hazed(color: np.ndarray, distance: np.ndarray, light: Light) -> np.ndarray:
    """Blend (N, 3) colours towards the horizon's with distance (N,) [m]."""
    clear = np.exp(-distance / light.haze_range)[:, None].astype(np.float32)
    return color * clear + light.horizon * (1.0 - clear)


def to_bytes(exposed: np.ndarray) -> np.ndarray:
    """Exposed linear colour to uint8 with a gentle shoulder and gamma."""
    return np.round(255.0 * np.clip(exposed / (1.0 + 0.12 * exposed), 0.0, 1.0) ** (1.0 / 1.25)).astype(np.uint8)
