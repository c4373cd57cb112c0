"""A pinhole camera that looks at the scene at one moment: shaded pixels and exact labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..structures.angles import cos_sin
from . import shading
from .looks import Look
from .materials import Semantic
from .raycast import MISS, STATIC, Snapshot, turn
from .rig import Camera, pose_matrix
from .seen import SeenPoints
from .textures import textured

GLOSSY = (Semantic.CAR, Semantic.TRUCK, Semantic.TRAILER, Semantic.BUS_RIGID, Semantic.BUS_BENDY, Semantic.MOTORCYCLE)
SKY = 0                         # panoptic code of a pixel that meets nothing


@dataclass(frozen=True, eq=False)
class Picture:
    """What a camera saw.

    Args:
        time: shutter time [s].
        rgb: (H, W, 3) uint8.
        panoptic: (H, W) uint16: nuScenes category index * 1000 + number of the actor, 0 for the town and the sky.
        depth: (H, W) float32 along the optical axis [m], infinite for the sky.
    """

    time: float
    rgb: np.ndarray
    panoptic: np.ndarray
    depth: np.ndarray


def photograph(snapshot: Snapshot, camera: Camera, time: float, rng: np.random.Generator) -> Picture:
    """Render one image.

    Args:
        snapshot: the scene at ``time``.
        camera: the sensor.
        time: shutter time [s].
        rng: for what the look does to the image; the plain look draws nothing.
    """
    caster = snapshot.caster
    global_from_camera = pose_matrix(caster.scene.ego, time) @ camera.ego_from_camera
    rays = (camera.directions().reshape(-1, 3) @ global_from_camera[:3, :3].T).astype(np.float32)   # depth 1 each
    length = np.linalg.norm(rays, axis=1)
    eye = global_from_camera[:3, 3]
    hits = snapshot.cast(eye, rays)
    views = rays / length[:, None]

    color = np.empty((len(rays), 3), np.float32)
    missed, found = np.flatnonzero(hits.face == MISS), np.flatnonzero(hits.face != MISS)
    color[missed] = shading.sky(views[missed], caster.scene.sun.astype(np.float32), caster.look.light)
    face, actor = hits.face[found], hits.actor[found]
    points = eye.astype(np.float32) + hits.distance[found, None] * rays[found]     # (S, 3), to 0.1 mm
    normals = hits.normal[found]
    normals *= -np.sign(np.einsum("ij,ij->i", normals, views[found]))[:, None]     # towards the viewer
    local, turned = _texture_frame(snapshot, points, normals, actor)
    footprint = hits.distance[found] / camera.intrinsics[0, 0]
    albedo = textured(local, turned, caster.faces.colors[face], caster.faces.texture[face], footprint)
    distance = hits.distance[found] * length[found]
    color[found] = _shaded(SeenPoints(snapshot, time, points, normals, views[found], distance, face, actor, albedo,
                                      local, turned))

    semantic, instance = caster.labels(face, actor)
    panoptic = np.full(len(rays), SKY, np.uint16)
    panoptic[found] = semantic.astype(np.uint16) * 1000 + instance.astype(np.uint16)
    shape = (camera.height, camera.width)
    return Picture(time, _developed(color.reshape(*shape, 3), caster.look, rng), panoptic.reshape(shape),
                   hits.distance.reshape(shape))


def _shaded(seen: SeenPoints) -> np.ndarray:
    """(S, 3) float32 linear colours of surfaces in the look's light, seen through its haze."""
    snapshot, caster = seen.snapshot, seen.snapshot.caster
    light, sun = caster.look.light, caster.scene.sun.astype(np.float32)
    shaded = np.ones(len(seen.face), dtype=bool)                                   # so is all that looks away
    if light.throws_shadows:
        facing = np.flatnonzero(seen.normals @ sun > 0.0)
        shaded[facing] = snapshot.is_shaded(seen.points[facing] + 0.02 * seen.normals[facing], sun)
    glossy = np.isin(caster.faces.semantic[seen.face], GLOSSY)  # of the surface: a rider does not shine
    color = shading.lit(seen.albedo, seen.normals, seen.views, glossy, shaded, sun, light)
    for effect in caster.look.surface_effects:
        color = effect(color, seen)
    return shading.hazed(color, seen.distance, light)


def _developed(color: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) linear colours -> uint8, through what the look has between scene and file."""
    image = look.light.exposure * color
    for effect in look.image_effects:
        image = effect(image, rng)
    return shading.to_bytes(image)


def _texture_frame(snapshot: Snapshot, points: np.ndarray, normals: np.ndarray,
                   actor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals in the frame that a texture is fixed to: the global one, or the actor's own."""
    points, normals = points.copy(), normals.copy()
    rows = np.flatnonzero(actor != STATIC)
    if len(rows):
        pose = snapshot.poses[actor[rows]]
        c, s = (wave.astype(np.float32) for wave in cos_sin(pose[:, 3]))
        points[rows] = turn(points[rows] - pose[:, :3], c, -s)
        normals[rows] = turn(normals[rows], c, -s)
    return points, normals
