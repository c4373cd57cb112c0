"""Sines and directions of arrays that come out the same to the last bit wherever the arrays lie in memory.

Before numpy 2.1 (its pull request 26972) a column of a table counts as overlapping whatever is stored right behind the
table; if that is the result, another routine with another last bit computes it. Packed copies never overlap.
"""

from __future__ import annotations

import numpy as np


def cos_sin(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of angles [rad] of any shape."""
    packed = angle.copy()
    return np.cos(packed), np.sin(packed)


def direction(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Angle [rad] from the x axis to vectors, in [-pi, pi]; of the shape of ``x`` and ``y``."""
    return np.arctan2(y.copy(), x.copy())
