"""A pinhole camera that looks at the scene at one moment: shaded pixels and exact labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import shading
from .materials import Semantic
from .raycast import MISS, STATIC, Snapshot, turn
from .rig import Camera, pose_matrix

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


def photograph(snapshot: Snapshot, camera: Camera, time: float) -> Picture:
    """Render one image.

    Args:
        snapshot: the scene at ``time``.
        camera: the sensor.
        time: shutter time [s].
    """
    caster = snapshot.caster
    global_from_camera = pose_matrix(caster.scene.ego, time) @ camera.ego_from_camera
    rays = (camera.directions().reshape(-1, 3) @ global_from_camera[:3, :3].T).astype(np.float32)   # depth 1 each
    length = np.linalg.norm(rays, axis=1)
    eye = global_from_camera[:3, 3]
    hits = snapshot.cast(eye, rays)
    views = rays / length[:, None]

    sun = caster.scene.sun.astype(np.float32)
    color = np.empty((len(rays), 3), np.float32)
    missed, seen = np.flatnonzero(hits.face == MISS), np.flatnonzero(hits.face != MISS)
    color[missed] = shading.sky(views[missed], sun)
    points = eye.astype(np.float32) + hits.distance[seen, None] * rays[seen]       # (S, 3), to 0.1 mm
    face, actor = hits.face[seen], hits.actor[seen]
    normals = hits.normal[seen]
    normals *= -np.sign(np.einsum("ij,ij->i", normals, views[seen]))[:, None]      # towards the viewer
    texture = caster.faces.texture[face]
    footprint = hits.distance[seen] / camera.intrinsics[0, 0]
    local, turned = _texture_frame(snapshot, points, normals, actor)
    albedo = shading.textured(local, turned, caster.faces.colors[face], texture, footprint)
    shaded = np.ones(len(seen), dtype=bool)                                        # so is all that looks away
    facing = np.flatnonzero(normals @ sun > 0.0)
    shaded[facing] = snapshot.is_shaded(points[facing] + 0.02 * normals[facing], sun)
    glossy = np.isin(caster.faces.semantic[face], GLOSSY)      # of the surface: a rider does not shine
    surface = shading.lit(albedo, normals, views[seen], glossy, shaded, sun)
    color[seen] = shading.hazed(surface, hits.distance[seen] * length[seen])

    semantic, instance = caster.labels(face, actor)
    panoptic = np.full(len(rays), SKY, np.uint16)
    panoptic[seen] = semantic.astype(np.uint16) * 1000 + instance.astype(np.uint16)
    shape = (camera.height, camera.width)
    return Picture(time, shading.to_bytes(color).reshape(*shape, 3), panoptic.reshape(shape),
                   hits.distance.reshape(shape))


def _texture_frame(snapshot: Snapshot, points: np.ndarray, normals: np.ndarray,
                   actor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals in the frame that a texture is fixed to: the global one, or the actor's own."""
    points, normals = points.copy(), normals.copy()
    rows = np.flatnonzero(actor != STATIC)
    if len(rows):
        pose = snapshot.poses[actor[rows]]
        c, s = (wave(pose[:, 3]).astype(np.float32) for wave in (np.cos, np.sin))
        points[rows] = turn(points[rows] - pose[:, :3], c, -s)
        normals[rows] = turn(normals[rows], c, -s)
    return points, normals
