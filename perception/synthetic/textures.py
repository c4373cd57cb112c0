"""Procedural textures: what a camera sees of a surface before light falls on it.

Every texture is a function of the hit point alone (metres; the global frame for the town, the actor's own frame for an
actor), so the same wall looks the same from every camera and at every time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .materials import Texture

SHUTTER_GREEN = np.array([0.20, 0.42, 0.38], np.float32)

Pattern = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def lattice_noise(cells: np.ndarray) -> np.ndarray:
    """(..., 3) whole numbers -> (...,) float32 in [0, 1), the same for the same cell."""
    n = cells.astype(np.int64)
    mixed = (n[..., 0] * 374761393 + n[..., 1] * 668265263 + n[..., 2] * 2147483647) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 16)) & 0xFFFF).astype(np.float32) / 65536.0


def smooth_noise(points: np.ndarray) -> np.ndarray:
    """(N, 3) -> (N,) float32 in [0, 1): lattice noise, smoothly interpolated; one cell is one unit."""
    base = np.floor(points)
    f = (points - base).astype(np.float32)
    f = f * f * (3.0 - 2.0 * f)
    layers = []
    for dz in (0, 1):
        rows = []
        for dy in (0, 1):
            near, far = (lattice_noise(base + np.array([dx, dy, dz])) for dx in (0, 1))
            rows.append(near + f[:, 0] * (far - near))
        layers.append(rows[0] + f[:, 1] * (rows[1] - rows[0]))
    return layers[0] + f[:, 2] * (layers[1] - layers[0])


def flat_noise(points: np.ndarray, scale: float) -> np.ndarray:
    """(N, 3) -> (N,) float32 in [0, 1): smooth noise over the ground plane, ``scale`` cells a metre."""
    base = np.floor(points[:, :2] * scale)
    f = (points[:, :2] * scale - base).astype(np.float32)
    f = f * f * (3.0 - 2.0 * f)
    cells = np.column_stack([base, np.zeros(len(base))])
    rows = []
    for dy in (0, 1):
        near, far = (lattice_noise(cells + np.array([dx, dy, 0])) for dx in (0, 1))
        rows.append(near + f[:, 0] * (far - near))
    return rows[0] + f[:, 1] * (rows[1] - rows[0])


def sharpness(footprint: np.ndarray, size: float) -> np.ndarray:
    """(N,) float32 in [0, 1]: how much of a detail of ``size`` [m] is left where a pixel covers ``footprint`` [m]."""
    return np.clip(2.0 - 2.0 * footprint / size, 0.0, 1.0).astype(np.float32)


def wall_coordinates(points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal run along a wall and height above the ground [m]."""
    horizontal = np.hypot(normals[:, 0], normals[:, 1]) + 1e-6
    run = (-normals[:, 1] * points[:, 0] + normals[:, 0] * points[:, 1]) / horizontal
    return run, points[:, 2]


def asphalt(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Fine grain, broad patches of wear."""
    grain = (lattice_noise(np.floor(points * 25.0)) - 0.5) * sharpness(footprint, 0.08)
    patches = flat_noise(points, 0.35)
    return colors * (0.92 + 0.14 * grain + 0.16 * patches)[:, None]


def paving(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Half-metre slabs with dark joints."""
    cell = np.floor(points[:, :2] * 2.0)
    inside = points[:, :2] * 2.0 - cell
    joint = (np.minimum(inside, 1.0 - inside).min(axis=1) < 0.05).astype(np.float32)
    tone = lattice_noise(np.column_stack([cell, np.zeros(len(cell))]))
    return colors * (0.96 + (0.16 * (tone - 0.5) - 0.18 * joint) * sharpness(footprint, 0.12))[:, None]


def brick(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Courses of bricks, 12 cm high and 36 cm long, in light mortar."""
    run, height = wall_coordinates(points, normals)
    row = np.floor(height / 0.12)
    course = run / 0.36 + 0.5 * (row % 2)
    joint = ((height / 0.12 - row) < 0.14) | ((course - np.floor(course)) < 0.06)
    tone = lattice_noise(np.column_stack([np.floor(course), row, np.zeros(len(row))]))
    wall = colors * (0.82 + 0.3 * tone)[:, None]
    wall[joint] = colors[joint] * 0.5 + 0.32
    average = colors * 0.89 + 0.06                                 # what a pixel sees when the courses blur
    fine = sharpness(footprint, 0.06)[:, None]
    return fine * wall + (1.0 - fine) * average


def windows(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """A rendered wall with a framed pane in every 3 m x 3 m bay; some have light curtains."""
    wall = plaster(points, normals, colors, footprint)
    framed, pane, tone = window_panes(points, normals)
    wall[framed] = 0.78
    tone = tone[pane, None]
    glass = np.array([0.16, 0.20, 0.25], np.float32) + 0.16 * tone
    wall[pane] = np.where(tone > 0.86, np.array([0.82, 0.76, 0.60], np.float32), glass)
    return wall


def window_panes(points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the windows of a wall are.

    Returns:
        (N,) bool frame or pane, (N,) bool pane, and (N,) float32 a number in [0, 1) that is the window's own.
    """
    run, height = wall_coordinates(points, normals)
    bay, floor = np.floor(run / 3.0), np.floor(height / 3.0)
    across, up = np.abs(run - (bay + 0.5) * 3.0), np.abs(height - (floor + 0.55) * 3.0)
    framed = (np.abs(normals[:, 2]) < 0.5) & (across < 0.89) & (up < 0.89) & (height > 0.6)
    pane = framed & (across < 0.8) & (up < 0.8) & (across > 0.04)
    return framed, pane, lattice_noise(np.column_stack([bay, floor, np.ones(len(bay))]))


def shutters(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """A limewashed wall with a tall window between open shutters in every 2.6 m x 3.2 m bay; shutters differ by floor.
    """
    wall = plaster(points, normals, colors, footprint)
    run, height = wall_coordinates(points, normals)
    bay, floor = np.floor(run / 2.6), np.floor(height / 3.2)
    across, up = np.abs(run - (bay + 0.5) * 2.6), np.abs(height - (floor + 0.52) * 3.2)
    opening = (np.abs(normals[:, 2]) < 0.5) & (up < 0.95) & (across < 0.9) & (height > 0.4)
    glass = opening & (across < 0.42)
    wall[opening & (across >= 0.46)] = SHUTTER_GREEN
    wall[glass] = 0.12
    tone = lattice_noise(np.column_stack([bay, floor, np.full(len(bay), 2.0)]))
    wall[glass & (tone > 0.6)] = SHUTTER_GREEN                     # closed for the noon
    return wall


def bands(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Galleries: a parapet in the wall's colour and a deep shadow above it on every floor of 3 m, between piers."""
    wall = plaster(points, normals, colors, footprint)
    run, height = wall_coordinates(points, normals)
    level, along = height / 3.0 % 1.0, run / 6.0 % 1.0
    recess = (np.abs(normals[:, 2]) < 0.5) & (level > 0.42) & (level < 0.92) & (along > 0.08) & (height > 0.6)
    wall[recess] = 0.30 * colors[recess]
    return wall


def plaster(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Faint stains."""
    return colors * (0.92 + 0.12 * smooth_noise(points * 1.2))[:, None]


def stripes(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Diagonal white stripes, 15 cm wide, over the colour."""
    run, height = wall_coordinates(points, normals)
    white = ((run + height) / 0.3) % 1.0 < 0.5
    return np.where(white[:, None], np.float32(0.9), colors)


def roof_tiles(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Rows of tiles, 30 cm high, that darken towards their lower edge."""
    run, height = wall_coordinates(points, normals)
    row = np.floor(height / 0.3)
    tone = lattice_noise(np.column_stack([np.floor(run / 0.25), row, np.zeros(len(row))]))
    pattern = 0.2 * (height / 0.3 - row) + 0.2 * tone - 0.2
    return colors * (0.95 + pattern * sharpness(footprint, 0.25))[:, None]


def foliage(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Leaves in light and shade."""
    clumps, leaves = smooth_noise(points * 2.2), lattice_noise(np.floor(points * 14.0))
    leaves = 0.5 + (leaves - 0.5) * sharpness(footprint, 0.14)
    return colors * (0.45 + 0.75 * clumps * (0.6 + 0.8 * leaves))[:, None]


def grass(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Blades and bare patches."""
    blades, patches = lattice_noise(np.floor(points * 18.0)), flat_noise(points, 0.6)
    blades = 0.5 + (blades - 0.5) * sharpness(footprint, 0.12)
    return colors * (0.7 + 0.25 * blades + 0.3 * patches)[:, None]


def bark(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Streaks that run upwards."""
    return colors * (0.7 + 0.5 * smooth_noise(points * np.array([12.0, 12.0, 1.5])))[:, None]


TEXTURES: dict[int, Pattern] = {
    Texture.ASPHALT: asphalt, Texture.PAVING: paving, Texture.GRASS: grass, Texture.BRICK: brick,
    Texture.WINDOWS: windows, Texture.PLASTER: plaster, Texture.FOLIAGE: foliage, Texture.BARK: bark,
    Texture.STRIPES: stripes, Texture.ROOF_TILES: roof_tiles, Texture.SHUTTERS: shutters, Texture.BANDS: bands,
}


def textured(points: np.ndarray, normals: np.ndarray, colors: np.ndarray, texture: np.ndarray,
             footprint: np.ndarray) -> np.ndarray:
    """(N, 3) float32 albedo in [0, 1] after the procedural textures.

    Args:
        points: (N, 3) float64 metres, in the frame that the texture is fixed to.
        normals: (N, 3) unit normals in that frame.
        colors: (N, 3) float32 plain albedo.
        texture: (N,) `Texture`.
        footprint: (N,) metres that a pixel covers there; finer detail is blurred to its mean.
    """
    albedo = colors.copy()
    for index, pattern in TEXTURES.items():
        rows = np.flatnonzero(texture == index)
        if len(rows):
            albedo[rows] = pattern(points[rows], normals[rows], colors[rows], footprint[rows])
    return np.clip(albedo, 0.0, 1.0)
