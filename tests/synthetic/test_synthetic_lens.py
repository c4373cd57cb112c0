"""Glare, rain and noise in the picture; street lamps found by cell."""

from __future__ import annotations

import numpy as np
import pytest

from perception.synthetic.artificial_light import LampGrid
from perception.synthetic.lens import Glare, RainStreaks, SensorNoise
from perception.synthetic.plant_meshes import cypress_mesh, palm_mesh
from perception.synthetic.townscape import LEAVES

SIZES = ((224, 400), (223, 401), (3, 5))


def flat(size: tuple[int, int], level: float) -> np.ndarray:
    return np.full((*size, 3), level, np.float32)


@pytest.mark.parametrize("effect", [Glare(), RainStreaks(), SensorNoise()], ids=lambda effect: type(effect).__name__)
@pytest.mark.parametrize("size", SIZES)
def test_an_effect_keeps_size_and_type_of_any_image(effect, size):
    image = effect(flat(size, 0.9), np.random.default_rng(0))
    assert image.shape == (*size, 3)
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert image.min() >= 0.0


def test_nothing_glares_below_the_threshold():
    np.testing.assert_array_equal(Glare(threshold=0.8)(flat((64, 64), 0.8), np.random.default_rng(0)), 0.8)


def test_a_bright_spot_has_a_round_halo_that_holds_its_excess_light():
    image = flat((128, 160), 0.0)
    image[64:68, 80:84] = 5.0                                          # one coarse block, in from the edges
    halo = Glare(threshold=1.0, strength=0.5, radius=6.0)(image, np.random.default_rng(0)) - image
    assert halo.sum() == pytest.approx(0.5 * 4.0 * 16 * 3, rel=0.01)   # the kernel's sum over whole pixels
    assert halo[65, 91, 0] == pytest.approx(halo[75, 81, 0], rel=1e-4)  # float32 sums
    assert halo[65, 85, 0] > 3.0 * halo[65, 97, 0]


def test_streaks_veil_a_small_part_of_the_image_and_never_outshine_the_drops():
    dark = RainStreaks(brightness=0.8)(flat((224, 400), 0.2), np.random.default_rng(0))
    changed = (dark != np.float32(0.2)).any(axis=-1)
    assert 0.02 < changed.mean() < 0.2
    assert dark.max() <= 0.2 + 0.30 * 0.6 + 1e-6                       # opacity times the difference


def test_noise_has_the_deviation_that_it_promises():
    noise = SensorNoise(read=0.01, shot=0.03)(flat((200, 300), 0.5), np.random.default_rng(0)) - 0.5
    assert abs(noise.mean()) < 5e-4                                    # 0.03 / sqrt(180,000) is 7e-5
    assert noise.std() == pytest.approx(0.01 + 0.03 * np.sqrt(0.5), rel=0.01)


def test_a_cell_knows_the_nearest_lamp_to_within_its_diagonal():
    rng = np.random.default_rng(3)
    lamps = np.column_stack([rng.uniform(0, 300, (40, 2)), np.full(40, 7.0)])
    grid, points = LampGrid(lamps, cell=3.0), rng.uniform(0, 300, (500, 3))
    found = grid.nearest(points)
    assert found.shape == (500, 3)
    distance = np.linalg.norm(points[:, None, :2] - lamps[:, :2], axis=-1)              # (500, 40)
    chosen = distance[np.arange(500), found[:, 0]]
    assert (chosen <= distance.min(axis=1) + 3.0 * np.sqrt(2.0) + 1e-3).all()


@pytest.mark.parametrize("count", [1, 2])
def test_few_lamps_and_points_far_outside_are_served(count):
    lamps = np.array([[10.0, 20.0, 7.0], [40.0, 20.0, 7.0]])[:count]
    found = LampGrid(lamps).nearest(np.array([[-5000.0, 0.0, 0.0], [41.0, 9000.0, 0.0]]))
    assert found.shape == (2, count)
    assert found[0, 0] == 0
    assert found[1, 0] == count - 1


@pytest.mark.parametrize("make", [palm_mesh, cypress_mesh])
def test_a_southern_tree_is_about_a_metre_high_and_stands_on_the_ground(make):
    mesh = make(np.random.default_rng(0), LEAVES)
    assert -0.02 <= mesh.vertices[:, 2].min() <= 0.0
    assert 0.9 <= mesh.vertices[:, 2].max() <= 1.1
    assert np.abs(mesh.vertices[:, :2]).max() < 0.5
