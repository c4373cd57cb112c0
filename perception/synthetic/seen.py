"""What an image's pixels see of surfaces, and what a look may do with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from .raycast import Snapshot


@dataclass(frozen=True, eq=False)
class SeenPoints:
    """The surface points that the pixels of one image show, the sky's left out.

    Args:
        snapshot: the scene at the time of the image.
        time: of the shutter [s].
        points: (S, 3) float32 global metres, to 0.1 mm.
        normals: (S, 3) float32 unit normals that look towards the camera, global frame.
        views: (S, 3) float32 unit vectors from the camera.
        distance: (S,) float32 metres from the camera.
        face: (S,) row of the caster's `Faces`.
        actor: (S,) index into the scene's actors, or `STATIC`.
        albedo: (S, 3) float32 after the textures.
        local, local_normals: (S, 3) points and normals in the frame that the texture is fixed to.
    """

    snapshot: Snapshot
    time: float
    points: np.ndarray
    normals: np.ndarray
    views: np.ndarray
    distance: np.ndarray
    face: np.ndarray
    actor: np.ndarray
    albedo: np.ndarray
    local: np.ndarray
    local_normals: np.ndarray


class SurfaceEffect(Protocol):
    """Light on surfaces beside that of sun and sky: lamps, reflections."""

    def __call__(self, color: np.ndarray, seen: SeenPoints) -> np.ndarray:
        """(S, 3) float32 linear colours -> the same with the effect; ``color`` may be changed."""
        ...


class ImageEffect(Protocol):
    """What happens between the scene and the file: rain in the air, glare, noise."""

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) float32 exposed linear colours -> the same with the effect; ``image`` may be changed."""
        ...
