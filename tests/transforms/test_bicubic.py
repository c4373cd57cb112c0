from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from perception.transforms.bicubic import enlarged, shrinking_weights, shrunk, to_uint8


def test_weights_of_halving_are_those_of_the_kernel_at_quarters():
    """The centre of a new pixel lies between two old ones, and the kernel is twice as wide."""
    distances = torch.tensor([1.75, 1.25, 0.75, 0.25, 0.25, 0.75, 1.25, 1.75], dtype=torch.float64)
    values = torch.where(
        distances <= 1, 1.5 * distances**3 - 2.5 * distances**2 + 1,
        -0.5 * distances**3 + 2.5 * distances**2 - 4 * distances + 2,
    )
    expected = values / values.sum()
    torch.testing.assert_close(torch.from_numpy(shrinking_weights(40, 2))[10, 17:25], expected)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_away_from_borders_it_is_torchs_antialiased_bicubic(factor):
    images = torch.rand(2, 3, 12 * factor, 16 * factor, dtype=torch.float64)
    small = F.interpolate(images, (12, 16), mode="bicubic", antialias=True)
    torch.testing.assert_close(shrunk(images, factor)[..., 3:-3, 3:-3], small[..., 3:-3, 3:-3])
    large = F.interpolate(images, scale_factor=factor, mode="bicubic", antialias=True)
    inner = (..., slice(3 * factor, -3 * factor), slice(3 * factor, -3 * factor))
    torch.testing.assert_close(enlarged(images, factor)[inner], large[inner])


@given(height=st.integers(1, 30), width=st.integers(1, 30), factor=st.integers(1, 5), level=st.floats(0, 1))
def test_one_colour_stays_that_colour(height, width, factor, level):
    images = torch.full((1, height, width), level, dtype=torch.float64)
    small, large = shrunk(images, factor), enlarged(images, factor)
    assert small.shape == (1, -(-height // factor), -(-width // factor))
    assert large.shape == (1, height * factor, width * factor)
    torch.testing.assert_close(small, torch.full_like(small, level))
    torch.testing.assert_close(large, torch.full_like(large, level))


@pytest.mark.parametrize("resize", [shrunk, enlarged])
def test_a_mirrored_picture_gives_the_mirrored_result(resize):
    images = torch.rand(3, 12, 20, dtype=torch.float64)
    torch.testing.assert_close(resize(images.flip(-1), 2), resize(images, 2).flip(-1))


def test_a_factor_of_one_changes_nothing():
    images = torch.rand(3, 7, 9)
    torch.testing.assert_close(shrunk(images, 1), images)
    torch.testing.assert_close(enlarged(images, 1), images)


def test_levels_are_clamped_and_rounded():
    assert to_uint8(torch.tensor([-0.2, 0.0, 0.499 / 255, 0.501 / 255, 1.0, 1.7])).tolist() == [0, 0, 0, 1, 255, 255]


@pytest.mark.parametrize(("images", "factor", "message"), [
    (torch.rand(3, 4, 4), 0, "factor must be a whole number >= 1, got 0"),
    (torch.zeros(3, 4, 4, dtype=torch.uint8), 2, r"images must be floats \(..., H, W\).*torch.uint8"),
    (torch.rand(3, 0, 4), 2, r"with pixels, got \(3, 0, 4\)"),
])
def test_what_cannot_be_resized_is_refused(images, factor, message):
    with pytest.raises(ValueError, match=message):
        shrunk(images, factor)
