"""Angles do not depend on where numpy happens to put an array."""

from __future__ import annotations

import numpy as np
import pytest

from perception.structures.angles import cos_sin, direction
from perception.synthetic.ribbon import Ribbon


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3)])
def test_angles_are_numpys_own(shape):
    angle = np.random.default_rng(0).uniform(-3.0, 3.0, shape)
    cos, sin = cos_sin(angle)
    np.testing.assert_array_equal(cos, np.cos(angle))
    np.testing.assert_array_equal(sin, np.sin(angle))
    np.testing.assert_allclose(direction(cos, sin), angle, atol=1e-15)


def test_the_last_bit_does_not_depend_on_what_is_stored_beside():
    rng = np.random.default_rng(0)
    ribbon = Ribbon(np.array([[0.0, 0.0], [50.0, 7.0], [80.0, 60.0]]))
    stations = rng.uniform(0.0, 80.0, 200)
    expected = ribbon.yaw(stations)
    neighbours: list[np.ndarray] = []
    for _ in range(20):
        for station, yaw in zip(stations, expected, strict=True):
            neighbours.append(np.zeros(rng.integers(1, 9)))           # memory of the sizes that one angle takes
            if len(neighbours) > 50:
                neighbours.pop(int(rng.integers(50)))
            assert ribbon.yaw(station)[0] == yaw
