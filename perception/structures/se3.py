"""Rigid transforms in float64, named ``target_from_source``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SE3:
    """A rigid transform: points of the source frame become ``rotation @ p + translation`` in the target frame.

    Args:
        rotation: (3, 3) float64, orthonormal with determinant +1.
        translation: (3,) float64, metres.

    Raises:
        ValueError: a shape is wrong, a value is not finite or ``rotation`` is not a rotation (to 1e-4).
    """

    rotation: Tensor
    translation: Tensor

    def __post_init__(self) -> None:
        rotation = torch.as_tensor(self.rotation, dtype=torch.float64)
        translation = torch.as_tensor(self.translation, dtype=torch.float64)
        if rotation.shape != (3, 3) or translation.shape != (3,):
            got = f"{tuple(rotation.shape)} and {tuple(translation.shape)}"
            raise ValueError(f"SE3 takes rotation (3, 3) and translation (3,), got {got}")
        if not torch.isfinite(rotation).all() or not torch.isfinite(translation).all():
            raise ValueError("SE3 takes finite numbers, got NaN or infinity")
        unit = torch.eye(3, dtype=torch.float64, device=rotation.device)
        if not torch.allclose(rotation @ rotation.T, unit, atol=1e-4) or torch.det(rotation) < 0:
            raise ValueError(f"rotation is not orthonormal with determinant +1: {rotation.tolist()}")
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "translation", translation)

    @classmethod
    def _rigid(cls, rotation: Tensor, translation: Tensor) -> SE3:
        """Of float64 parts that are a rigid transform by their making, which is not checked again."""
        pose = object.__new__(cls)
        object.__setattr__(pose, "rotation", rotation)
        object.__setattr__(pose, "translation", translation)
        return pose

    @classmethod
    def identity(cls) -> SE3:
        """The transform that changes nothing."""
        return cls(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))

    @classmethod
    def about_z(cls, angle: float, translation: Sequence[float] = (0.0, 0.0, 0.0)) -> SE3:
        """Turn by ``angle`` [rad] counter-clockwise about +z, then move by ``translation`` [m]."""
        c, s = math.cos(angle), math.sin(angle)
        return cls(torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64),
                   torch.tensor(translation, dtype=torch.float64))

    @classmethod
    def from_quaternion(cls, wxyz: Sequence[float] | Tensor, translation: Sequence[float] | Tensor) -> SE3:
        """From a quaternion (w, x, y, z), normalised here, and a translation [m].

        Raises:
            ValueError: the quaternion is zero or not finite, or the translation is not three finite numbers.
        """
        w, x, y, z = (float(value) for value in wxyz)
        norm = math.sqrt(w * w + x * x + y * y + z * z)
        if not math.isfinite(norm) or norm < 1e-12:
            raise ValueError(f"a quaternion must be finite and not zero, got {[w, x, y, z]}")
        shift = [float(value) for value in translation]
        if len(shift) != 3 or not all(math.isfinite(value) for value in shift):
            raise ValueError(f"a translation is three finite numbers, got {shift}")
        w, x, y, z = w / norm, x / norm, y / norm, z / norm
        rotation = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
        return cls._rigid(torch.tensor(rotation, dtype=torch.float64), torch.tensor(shift, dtype=torch.float64))

    @classmethod
    def from_matrix(cls, matrix: Tensor | np.ndarray | Sequence[Sequence[float]]) -> SE3:
        """From a (4, 4) or (3, 4) homogeneous matrix. Raises ValueError for any other shape or no rigid transform."""
        matrix = (matrix if isinstance(matrix, Tensor) else torch.from_numpy(np.array(matrix))).to(torch.float64)
        if matrix.shape not in ((4, 4), (3, 4)):
            raise ValueError(f"a homogeneous matrix is (4, 4) or (3, 4), got {tuple(matrix.shape)}")
        return cls(matrix[:3, :3], matrix[:3, 3])

    def matrix(self) -> Tensor:
        """(4, 4) float64 homogeneous matrix."""
        matrix = torch.eye(4, dtype=torch.float64, device=self.rotation.device)
        matrix[:3, :3], matrix[:3, 3] = self.rotation, self.translation
        return matrix

    def quaternion(self) -> Tensor:
        """(4,) float64 unit quaternion (w, x, y, z) with w >= 0."""
        from scipy.spatial.transform import Rotation

        x, y, z, w = Rotation.from_matrix(self.rotation.cpu().numpy()).as_quat()
        return torch.tensor([w, x, y, z], dtype=torch.float64) * (1.0 if w >= 0 else -1.0)

    @property
    def yaw(self) -> float:
        """Heading of the turned x axis in the target's xy plane [rad], in [-pi, pi]."""
        return math.atan2(float(self.rotation[1, 0]), float(self.rotation[0, 0]))

    def inverse(self) -> SE3:
        """``b_from_a`` of ``a_from_b``."""
        return SE3._rigid(self.rotation.T, -self.rotation.T @ self.translation)

    def __matmul__(self, other: SE3) -> SE3:
        """``a_from_b @ b_from_c`` is ``a_from_c``."""
        return SE3._rigid(self.rotation @ other.rotation, self.rotation @ other.translation + self.translation)

    def apply(self, points: Tensor) -> Tensor:
        """Move points (..., 3) [m]; computed in float64, returned in their own dtype and on their device."""
        rotation, translation = self.rotation.to(points.device), self.translation.to(points.device)
        return (points.double() @ rotation.T + translation).to(points.dtype)

    def rotate(self, vectors: Tensor) -> Tensor:
        """Turn free vectors (..., 3) or, by the upper-left 2x2 block, (..., 2); dtype and device are kept."""
        size = vectors.shape[-1]
        rotation = self.rotation[:size, :size].to(vectors.device)
        return (vectors.double() @ rotation.T).to(vectors.dtype)
