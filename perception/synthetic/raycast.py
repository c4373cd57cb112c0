"""Rays against a scene: the static town once, moving actors each in its own frame at each ray's own time.

Embree's scenes can't move. Actors are therefore kept as a *shelf*: every mesh at rest in its own frame, far enough from
the others that a ray of LiDAR length never meets two of them; a ray is carried into the frame of the actor that it may
meet. For one moment (a camera's shutter) a *snapshot* with all actors at their places is cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..structures.angles import cos_sin
from .artificial_light import LampGrid, is_driving
from .looks import DAY, Look
from .paths import ActorPaths
from .scene import Actor, Mesh, Scene
from .taxonomy import CATEGORY_INDEX

STATIC = -1                     # actor index of a hit on the town
MISS = -1                       # face index of a ray that meets nothing
SHELF_SPACING = 400.0           # metres; more than twice the longest LiDAR ray


@dataclass(frozen=True, eq=False)
class Hits:
    """What rays meet first.

    Args:
        distance: (N,) float32 in units of the ray's direction; infinite for a miss.
        face: (N,) int64 row of `Faces`, or `MISS`.
        normal: (N, 3) float32 unit normal in the global frame; zero for a miss.
        actor: (N,) int64 index into the scene's actors, or `STATIC`.
    """

    distance: np.ndarray
    face: np.ndarray
    normal: np.ndarray
    actor: np.ndarray

    @classmethod
    def none(cls, count: int) -> Hits:
        """(count,) rays that meet nothing."""
        return cls(np.full(count, np.inf, np.float32), np.full(count, MISS, np.int64),
                   np.zeros((count, 3), np.float32), np.full(count, STATIC, np.int64))

    def nearest(self, other: Hits) -> Hits:
        """Ray by ray the nearer of the two."""
        closer = other.distance < self.distance
        return Hits(np.where(closer, other.distance, self.distance), np.where(closer, other.face, self.face),
                    np.where(closer[:, None], other.normal, self.normal), np.where(closer, other.actor, self.actor))


class TriangleScene:
    """Embree over one set of triangles, which may be empty.

    Args:
        vertices: (V, 3) metres; stored relative to ``origin`` so that float32 keeps a tenth of a millimetre.
        triangles: (T, 3) vertex rows.
        origin: (3,) float64.
    """

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray, origin: np.ndarray) -> None:
        import open3d
        from open3d.core import Tensor

        self.origin = origin
        self._tensor = Tensor.from_numpy
        self._scene = None
        if len(triangles):
            self._scene = open3d.t.geometry.RaycastingScene(nthreads=1)   # so that the tree is the same in every run
            local = np.ascontiguousarray(vertices.astype(np.float64) - origin, dtype=np.float32)
            self._scene.add_triangles(self._tensor(local), self._tensor(np.ascontiguousarray(triangles, np.uint32)))

    def cast(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`rays` (N, 6) -> distance (N,) float32, triangle (N,) int64 or `MISS`, unit normal (N, 3) float32."""
        if self._scene is None or not len(rays):
            none = Hits.none(len(rays))
            return none.distance, none.face, none.normal
        answer = self._scene.cast_rays(self._tensor(rays))
        distance = answer["t_hit"].numpy()
        triangle = answer["primitive_ids"].numpy().astype(np.int64)
        triangle[~np.isfinite(distance)] = MISS
        return distance, triangle, answer["primitive_normals"].numpy()

    def is_blocked(self, rays: np.ndarray, tnear: float) -> np.ndarray:
        """(N,) bool: something lies on the ray (N, 6) beyond ``tnear``."""
        if self._scene is None or not len(rays):
            return np.zeros(len(rays), dtype=bool)
        return self._scene.test_occlusions(self._tensor(rays), tnear=tnear).numpy()


class Faces:
    """Surface properties of all triangles of a scene: the town's first, then those of each distinct actor mesh."""

    def __init__(self, meshes: list[Mesh]) -> None:
        self.colors = np.concatenate([mesh.colors for mesh in meshes]).astype(np.float32) / 255.0   # (F, 3)
        self.semantic = np.concatenate([mesh.semantic for mesh in meshes]).astype(np.uint8)
        self.reflectivity = np.concatenate([mesh.reflectivity for mesh in meshes]).astype(np.float32)
        self.texture = np.concatenate([mesh.texture for mesh in meshes]).astype(np.uint8)


class SceneCaster:
    """Everything of a scene that a sensor can see.

    Args:
        scene: the drive; its meshes are taken as they are.
        look: in whose light the cameras see it.
    """

    def __init__(self, scene: Scene, look: Look = DAY) -> None:
        self.scene = scene
        self.look = look
        start = scene.ego.at(np.zeros(1))[0, :3]
        self.origin = np.round(start)
        self.meshes, self.mesh_of_actor = distinct_meshes(scene.actors)
        self.faces = Faces([scene.static, *self.meshes])
        counts = np.array([len(scene.static.triangles), *(len(mesh.triangles) for mesh in self.meshes)])
        self.first_face = np.cumsum(counts) - counts                 # (1 + meshes,) row of Faces
        self._category = np.array([0, *(CATEGORY_INDEX[actor.category] for actor in scene.actors)], np.uint8)
        self._number = np.array([0, *(actor.instance for actor in scene.actors)], np.int64)
        self.paths = ActorPaths(scene.actors)
        self.half_height = np.array([0.5 * actor.size[2] for actor in scene.actors])
        self.radius = np.array([bounding_radius(actor) for actor in scene.actors])
        self.static = TriangleScene(scene.static.vertices, scene.static.triangles, self.origin)
        self.shelf_places = shelf_places(len(self.meshes))
        self.shelf = self._build_shelf()

    @cached_property
    def lamp_grid(self) -> LampGrid | None:
        """The street lamps, if there are any."""
        return LampGrid(self.scene.lamps) if len(self.scene.lamps) else None

    @cached_property
    def has_lamps_on(self) -> np.ndarray:
        """(1 + A,) bool: whether lamps on the town, then on every actor, shine when it is dark."""
        return np.array([True, *(is_driving(actor) for actor in self.scene.actors)])

    def labels(self, face: np.ndarray, actor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Category index (N,) uint8 and instance number (N,) int64 (0: town) of hits; an actor has one category."""
        return np.where(actor == STATIC, self.faces.semantic[face], self._category[actor + 1]), self._number[actor + 1]

    def poses(self, time: float) -> np.ndarray:
        """(A, 4) float64 x, y, z, yaw of every actor's box centre at a time [s]."""
        return self.paths.all_at(time)

    def cast_static(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """Nearest hit on the town alone."""
        return self.cast_static_rays(self.rays(origins, directions))

    def cast_static_rays(self, rays: np.ndarray) -> Hits:
        """The same for rays (N, 6) that `rays` made."""
        distance, face, normal = self.static.cast(rays)
        return Hits(distance, face, normal, np.full(len(distance), STATIC, np.int64))

    def rays(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N, 6) float32 for Embree, relative to the scene's own origin; (N, 3) or (3,) each, global frame."""
        return ray_rows(origins - self.origin, directions)

    def cast_actors(self, origins: np.ndarray, directions: np.ndarray, actor: np.ndarray, pose: np.ndarray) -> Hits:
        """Each ray against one actor alone.

        Args:
            origins, directions: (N, 3) float64, global frame; unit directions.
            actor: (N,) index of the actor that the ray is tried on.
            pose: (N, 4) float64 pose of that actor at the ray's time.
        """
        mesh = self.mesh_of_actor[actor]
        c, s = cos_sin(pose[:, 3])
        local = turn(origins - pose[:, :3], c, -s) + self.shelf_places[mesh]
        distance, triangle, normal = self.shelf.cast(ray_rows(local, turn(directions, c, -s)))
        stranger = distance > SHELF_SPACING / 2                      # the next one on the shelf
        distance = np.where(stranger, np.inf, distance).astype(np.float32)
        hit = np.isfinite(distance)
        face = np.where(hit, triangle + len(self.scene.static.triangles), MISS)
        normal = np.where(hit[:, None], turn(normal, c, s), 0.0).astype(np.float32)
        return Hits(distance, face, normal, np.where(hit, actor, STATIC))

    def snapshot(self, time: float, centre: np.ndarray, reach: float = 130.0) -> Snapshot:
        """All actors within ``reach`` [m] of a global point, at their places at one time [s]."""
        return Snapshot(self, time, centre, reach)

    def _build_shelf(self) -> TriangleScene:
        vertices, triangles, count = [np.zeros((0, 3))], [np.zeros((0, 3), np.uint32)], 0
        for mesh, place in zip(self.meshes, self.shelf_places, strict=True):
            vertices.append(mesh.vertices + place)
            triangles.append(mesh.triangles + np.uint32(count))
            count += len(mesh.vertices)
        return TriangleScene(np.concatenate(vertices), np.concatenate(triangles), np.zeros(3))


class Snapshot:
    """The scene at one moment: town and actors, for rays that all start at that time."""

    def __init__(self, caster: SceneCaster, time: float, centre: np.ndarray, reach: float) -> None:
        self.caster = caster
        self.poses = caster.poses(time)
        near = np.hypot(*(self.poses[:, :2] - centre[:2]).T) < reach
        self.indices = np.flatnonzero(near)
        vertices, triangles, faces, owners, count = [np.zeros((0, 3))], [np.zeros((0, 3), np.uint32)], [], [], 0
        for index in self.indices:
            number = int(caster.mesh_of_actor[index])
            mesh, pose = caster.meshes[number], self.poses[index]
            vertices.append(turn(mesh.vertices.astype(np.float64), np.cos(pose[3]), np.sin(pose[3])) + pose[:3])
            triangles.append(mesh.triangles + np.uint32(count))
            faces.append(caster.first_face[1 + number] + np.arange(len(mesh.triangles)))
            owners.append(np.full(len(mesh.triangles), index))
            count += len(mesh.vertices)
        self._face = np.concatenate([*faces, np.zeros(0, np.int64)]).astype(np.int64)
        self._owner = np.concatenate([*owners, np.zeros(0, np.int64)]).astype(np.int64)
        self._actors = TriangleScene(np.concatenate(vertices), np.concatenate(triangles), caster.origin)

    def cast(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """Nearest hit on town or actors; (N, 3) and (N, 3), global frame."""
        rays = self.caster.rays(origins, directions)
        static = self.caster.cast_static_rays(rays)
        return static.nearest(self._cast_actors(rays)) if len(self._face) else static

    def _cast_actors(self, rays: np.ndarray) -> Hits:
        distance, triangle, normal = self._actors.cast(rays)
        hit = triangle != MISS
        return Hits(distance, np.where(hit, self._face[triangle], MISS), normal,
                    np.where(hit, self._owner[triangle], STATIC))

    def is_shaded(self, points: np.ndarray, towards: np.ndarray) -> np.ndarray:
        """(N,) bool: town or an actor stands between a point and a light at infinity."""
        rays = self.caster.rays(points, towards)
        return self.caster.static.is_blocked(rays, tnear=0.03) | self._actors.is_blocked(rays, tnear=0.03)


def distinct_meshes(actors: tuple[Actor, ...]) -> tuple[list[Mesh], np.ndarray]:
    """The different mesh objects of the actors, and for each actor the number of its own (A,) int64."""
    number: dict[int, int] = {}
    meshes: list[Mesh] = []
    for actor in actors:
        if id(actor.mesh) not in number:
            number[id(actor.mesh)] = len(meshes)
            meshes.append(actor.mesh)
    return meshes, np.array([number[id(actor.mesh)] for actor in actors], dtype=np.int64)


def bounding_radius(actor: Actor) -> float:
    """Half the diagonal of the box [m]."""
    return 0.5 * float(np.linalg.norm(actor.size))


def shelf_places(count: int) -> np.ndarray:
    """(count, 3) float64 places on a cubic lattice around the origin."""
    edge = max(1, int(np.ceil(count ** (1.0 / 3.0) - 1e-9)))
    index = np.arange(count)
    lattice = np.stack([index % edge, index // edge % edge, index // edge**2], axis=-1)
    return (lattice - (edge - 1) // 2) * SHELF_SPACING


def turn(vectors: np.ndarray, c: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Turn (N, 3) vectors about +z by the angle with cosine ``c`` and sine ``s``."""
    x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
    return np.stack([c * x - s * y, s * x + c * y, z], axis=-1)


def ray_rows(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(N, 6) float32 rows of origin and direction; either may be a single (3,)."""
    rays = np.empty((np.broadcast_shapes(origins.shape, directions.shape)[0], 6), dtype=np.float32)
    rays[:, :3], rays[:, 3:] = origins, directions
    return rays
