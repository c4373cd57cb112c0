"""Building meshes out of closed convex pieces, and putting finished ones together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .materials import Paint, Semantic
from .scene import Mesh

Vector = Sequence[float] | np.ndarray
Outline = Sequence[tuple[float, float]]

_SQUARE = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
_BOX_CORNERS = np.array([(x, y, z) for z in (-0.5, 0.5) for x, y in _SQUARE])
_BOX_TRIANGLES = np.array([
    (0, 2, 1), (0, 3, 2), (0, 1, 5), (0, 5, 4), (1, 2, 6), (1, 6, 5), (2, 3, 7), (2, 7, 6), (3, 0, 4), (3, 4, 7),
    (4, 5, 6), (4, 6, 7),
])


class MeshBuilder:
    """Collects closed pieces; every piece's triangles are turned to face outwards.

    Args:
        semantic: category of the pieces that name none themselves.
    """

    def __init__(self, semantic: Semantic) -> None:
        self.semantic = semantic
        self._vertices: list[np.ndarray] = []
        self._triangles: list[np.ndarray] = []
        self._paints: list[tuple[Paint, Semantic, int]] = []
        self._count = 0

    def add(self, vertices: np.ndarray, triangles: np.ndarray, paint: Paint, semantic: Semantic | None = None) -> None:
        """Take (V, 3) vertices and (T, 3) rows as they are."""
        self._vertices.append(np.asarray(vertices, dtype=np.float64))
        self._triangles.append(np.asarray(triangles, dtype=np.int64) + self._count)
        self._paints.append((paint, self.semantic if semantic is None else semantic, len(triangles)))
        self._count += len(vertices)

    def loft(
        self, rings: np.ndarray, paint: Paint, semantic: Semantic | None = None,
        side_paints: Sequence[Paint] | None = None,
    ) -> None:
        """Join rings of equal length into a closed body with flat ends.

        Args:
            rings: (S, P, 3) S >= 2 outlines of P points each.
            paint: of the ends, and of the sides unless they have their own.
            semantic: category, the builder's own by default.
            side_paints: P paints, one for the side that follows each outline point.
        """
        rings = np.asarray(rings, dtype=np.float64)
        sides, ends = _loft_triangles(len(rings), rings.shape[1])
        vertices = rings.reshape(-1, 3)
        triangles = np.concatenate([sides.reshape(-1, 3), ends])
        if _volume(vertices, triangles) < 0:
            sides, ends, triangles = sides[..., ::-1], ends[:, ::-1], triangles[:, ::-1]
        if side_paints is None:
            self.add(vertices, triangles, paint, semantic)
            return
        self.add(vertices, ends, paint, semantic)
        first = self._count - len(vertices)
        for index, side_paint in enumerate(side_paints):
            rows = sides[:, index].reshape(-1, 3)
            self._triangles.append(rows + first)
            self._paints.append((side_paint, self.semantic if semantic is None else semantic, len(rows)))

    def box(self, center: Vector, size: Vector, paint: Paint, *, yaw: float = 0.0, top: Paint | None = None,
            semantic: Semantic | None = None) -> None:
        """A cuboid turned about the vertical [rad]; ``top`` paints its upper face differently."""
        vertices = _BOX_CORNERS * np.asarray(size, dtype=np.float64)
        if yaw:
            cos, sin = np.cos(yaw), np.sin(yaw)
            vertices[:, :2] = vertices[:, :2] @ np.array([[cos, sin], [-sin, cos]])
        self.add(vertices + np.asarray(center), _BOX_TRIANGLES, paint, semantic)
        if top is not None:                                  # the last two triangles are the upper face
            category = self.semantic if semantic is None else semantic
            self._paints[-1:] = [(paint, category, len(_BOX_TRIANGLES) - 2), (top, category, 2)]

    def prism(self, outline: np.ndarray, bottom: float, top_z: float, paint: Paint, top: Paint | None = None,
              semantic: Semantic | None = None) -> None:
        """A convex (P, 2) outline in x and y raised from ``bottom`` to ``top_z``."""
        rings = np.stack([np.column_stack([outline, np.full(len(outline), z)]) for z in (bottom, top_z)])
        self.loft(rings, top or paint, semantic, None if top is None else [paint] * len(outline))

    def profile(self, points: Outline, width: float, paint: Paint, side_paints: Sequence[Paint] | None = None,
                y: float = 0.0, top_width: float | None = None) -> None:
        """A convex outline in x and z extruded across y; with ``top_width`` it narrows towards its highest point."""
        outline = np.asarray(points, dtype=np.float64)
        share = (outline[:, 1] - outline[:, 1].min()) / max(float(np.ptp(outline[:, 1])), 1e-9)
        half = (width + ((width if top_width is None else top_width) - width) * share) / 2
        rings = np.stack([np.stack([outline[:, 0], y + sign * half, outline[:, 1]], -1) for sign in (-1, 1)])
        self.loft(rings, paint, side_paints=side_paints)

    def cylinder(self, start: Vector, end: Vector, radius: float, paint: Paint, *, end_radius: float | None = None,
                 sides: int = 8, semantic: Semantic | None = None) -> None:
        """A round bar from one point to another; with ``end_radius`` it tapers."""
        start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        axis = (end - start) / np.linalg.norm(end - start)
        x, y, z = axis
        across = np.array([y, -x, 0.0] if abs(z) < 0.9 else [0.0, z, -y])            # the axis times z or times x
        across /= np.sqrt(across @ across)
        other = np.array([y * across[2] - z * across[1], z * across[0] - x * across[2], x * across[1] - y * across[0]])
        angle = np.arange(sides) * 2 * np.pi / sides
        circle = np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * other    # (P, 3)
        last = radius if end_radius is None else end_radius
        self.loft(np.stack([start + circle * radius, end + circle * last]), paint, semantic)

    def ellipsoid(self, center: Vector, radii: Vector, paint: Paint, *, rings: int = 5, sides: int = 8,
                  semantic: Semantic | None = None, jitter: np.ndarray | None = None) -> None:
        """A ball with three radii; ``jitter`` (rings, sides) scales its points for a ragged look."""
        polar = np.linspace(0.08, np.pi - 0.08, rings)
        angle = np.arange(sides) * 2 * np.pi / sides
        unit = np.stack([
            np.sin(polar)[:, None] * np.cos(angle), np.sin(polar)[:, None] * np.sin(angle),
            np.broadcast_to(-np.cos(polar)[:, None], (rings, sides)),
        ], axis=-1)                                                                           # (S, P, 3)
        if jitter is not None:
            unit = unit * jitter[..., None]
        self.loft(np.asarray(center) + unit * np.asarray(radii), paint, semantic)

    def build(self) -> Mesh:
        """The mesh of all pieces.

        Raises:
            ValueError: nothing was added.
        """
        if not self._vertices:
            raise ValueError("a mesh needs at least one piece, got none")
        counts = [count for _, _, count in self._paints]
        return Mesh(
            vertices=np.concatenate(self._vertices).astype(np.float32),
            triangles=np.concatenate(self._triangles).astype(np.uint32),
            colors=np.repeat(np.array([p.color for p, _, _ in self._paints], dtype=np.uint8), counts, axis=0),
            semantic=np.repeat(np.array([s for _, s, _ in self._paints], dtype=np.uint8), counts),
            reflectivity=np.repeat(np.array([p.reflectivity for p, _, _ in self._paints], dtype=np.float32), counts),
            texture=np.repeat(np.array([p.texture for p, _, _ in self._paints], dtype=np.uint8), counts),
        )


def merge_meshes(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of many."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        triangles=np.concatenate(
            [mesh.triangles + np.uint32(offset) for mesh, offset in zip(meshes, offsets, strict=True)]
        ),
        colors=np.concatenate([mesh.colors for mesh in meshes]),
        semantic=np.concatenate([mesh.semantic for mesh in meshes]),
        reflectivity=np.concatenate([mesh.reflectivity for mesh in meshes]),
        texture=np.concatenate([mesh.texture for mesh in meshes]),
    )


def move_mesh(mesh: Mesh, position: Vector, yaw: float = 0.0, scale: Vector = (1.0, 1.0, 1.0)) -> Mesh:
    """The mesh stretched along its axes, turned about the vertical [rad] and shifted [m]."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])                      # row vectors
    vertices = (mesh.vertices.astype(np.float64) * np.asarray(scale)) @ turn + np.asarray(position)
    return Mesh(
        vertices.astype(np.float32), mesh.triangles, mesh.colors, mesh.semantic, mesh.reflectivity, mesh.texture
    )


def fit_mesh(mesh: Mesh, size: Vector, inset: Vector = (0.06, 0.06, 0.03)) -> Mesh:
    """The mesh stretched to fill a box around the origin up to an inset on every face.

    Args:
        mesh: any mesh with extent along all three axes.
        size: length, width, height of the box [m].
        inset: gap between mesh and box along x, y, z [m]; three sigma of the range noise across, less along z,
            where beams graze.
    """
    low, high = mesh.vertices.min(axis=0).astype(np.float64), mesh.vertices.max(axis=0).astype(np.float64)
    if (high - low).min() <= 0:
        raise ValueError(f"mesh must have extent along all axes, got {(high - low).tolist()}")
    wanted = np.asarray(size, dtype=np.float64) - 2 * np.asarray(inset)
    vertices = (mesh.vertices - (low + high) / 2) * (wanted / (high - low))
    return Mesh(
        vertices.astype(np.float32), mesh.triangles, mesh.colors, mesh.semantic, mesh.reflectivity, mesh.texture
    )


@lru_cache(maxsize=256)
def _loft_triangles(num_rings: int, num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertex rows of the sides (S-1, P, 2, 3) and of both ends (2 (P-2), 3)."""
    column, row = np.meshgrid(np.arange(num_points), np.arange(num_rings - 1))
    following = (column + 1) % num_points
    a, b = row * num_points + column, row * num_points + following
    c, d = a + num_points, b + num_points
    sides = np.stack([np.stack([a, b, d], -1), np.stack([a, d, c], -1)], axis=2)
    fan = np.stack([np.zeros(num_points - 2, int), np.arange(2, num_points), np.arange(1, num_points - 1)], -1)
    return sides, np.concatenate([fan, fan[:, ::-1] + (num_rings - 1) * num_points])


def _volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Six times the signed volume, positive for triangles that are counter-clockwise from outside."""
    a, b, c = (vertices - vertices[0])[triangles.T].transpose(0, 2, 1)               # (3, T) each
    return float(
        a[0] @ (b[1] * c[2] - b[2] * c[1]) + a[1] @ (b[2] * c[0] - b[0] * c[2]) + a[2] @ (b[0] * c[1] - b[1] * c[0])
    )
