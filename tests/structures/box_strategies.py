"""Random boxes and poses for the property tests of this folder."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st

from perception.structures import SE3, Boxes3D


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, width=32)


@st.composite
def boxes3d(draw, max_boxes: int = 6, columns: int = 9, dtype: torch.dtype = torch.float64) -> Boxes3D:
    """Boxes within 100 m, of 0.1 to 20 m, at any yaw in [-pi, pi), at up to 30 m/s."""
    count = draw(st.integers(0, max_boxes))
    ranges = [(-100, 100)] * 3 + [(0.125, 20)] * 3 + [(-3.125, 3.125)] + [(-30, 30)] * 2
    rows = [[draw(numbers(low, high)) for low, high in ranges[:columns]] for _ in range(count)]
    return Boxes3D(torch.tensor(rows, dtype=dtype).reshape(count, columns))


@st.composite
def se3(draw, max_tilt: float = 0.5, reach: float = 100.0) -> SE3:
    """Poses at any heading, tilted by at most ``max_tilt`` [rad] about a horizontal axis."""
    heading, axis = draw(numbers(-3.125, 3.125)), draw(numbers(-3.125, 3.125))
    tilt = draw(numbers(0, max_tilt))
    shift = [draw(numbers(-reach, reach)) for _ in range(3)]
    lean = [math.cos(tilt / 2), math.sin(tilt / 2) * math.cos(axis), math.sin(tilt / 2) * math.sin(axis), 0.0]
    return SE3.about_z(heading, shift) @ SE3.from_quaternion(lean, [0.0, 0.0, 0.0])
