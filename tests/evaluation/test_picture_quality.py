from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.evaluation.picture_quality import luma, psnr, ssim


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def test_psnr_of_one_level_everywhere():
    first = np.full((8, 8), 100, np.uint8)
    assert psnr(first, first + 1) == pytest.approx(20 * math.log10(255))
    assert psnr(first, first + 5) == pytest.approx(20 * math.log10(255 / 5))


def test_levels_do_not_wrap_around():
    assert psnr(np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8)) == 0.0


def test_all_channels_count_alike():
    first = np.zeros((4, 4, 3), np.uint8)
    second = first.copy()
    second[..., 0] = 3
    assert psnr(first, second) == pytest.approx(10 * math.log10(255**2 / 3))


def test_the_border_does_not_count():
    first = noise(20, 24)
    second = first.copy()
    second[:2] = 255 - second[:2]
    second[:, -1] = 255 - second[:, -1]
    assert psnr(first, second) < 20
    assert psnr(first, second, border=2) == math.inf
    assert ssim(first, second, border=2) == pytest.approx(1.0)


def test_luma_is_that_of_bt601():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert luma(colours)[0].tolist() == pytest.approx([16.0, 235.0, 81.481, 144.553, 40.966])


def test_ssim_of_two_flat_pictures_is_that_of_their_levels():
    first, second = np.full((16, 16), 50.0), np.full((16, 16), 90.0)
    c1 = (0.01 * 255) ** 2
    assert ssim(first, second) == pytest.approx((2 * 50 * 90 + c1) / (50**2 + 90**2 + c1))


def test_ssim_of_channels_is_their_mean():
    first, second = noise(20, 24, 3), noise(24, 20, 3).transpose(1, 0, 2)
    channels = [ssim(first[..., channel], second[..., channel]) for channel in range(3)]
    assert ssim(first, second) == pytest.approx(np.mean(channels))


def test_ssim_of_one_window_by_its_definition():
    first, second = noise(11, 11).astype(float), noise(11, 12)[:, :11].astype(float)
    axis = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    weights = np.outer(axis, axis) / np.outer(axis, axis).sum()
    mean1, mean2 = (weights * first).sum(), (weights * second).sum()
    var1, var2 = (weights * (first - mean1) ** 2).sum(), (weights * (second - mean2) ** 2).sum()
    cov = (weights * (first - mean1) * (second - mean2)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mean1 * mean2 + c1) * (2 * cov + c2) / ((mean1**2 + mean2**2 + c1) * (var1 + var2 + c2))
    assert ssim(first, second) == pytest.approx(expected)


@given(seed=st.integers(0, 1000), height=st.integers(11, 20), width=st.integers(11, 20))
def test_both_are_symmetric_and_ssim_at_most_one(seed, height, width):
    draw = np.random.default_rng(seed)
    first, second = (draw.integers(0, 256, (height, width), dtype=np.uint8) for _ in range(2))
    assert psnr(first, second) == psnr(second, first)
    assert ssim(first, second) == pytest.approx(ssim(second, first))
    assert -1 <= ssim(first, second) <= 1
    assert ssim(first, first) == pytest.approx(1.0)


@pytest.mark.parametrize(("first", "second", "border", "message"), [
    (noise(12, 12), noise(12, 13), 0, r"must have one shape, got \(12, 12\) and \(12, 13\)"),
    (noise(12, 12), noise(12, 12), -1, "border must be >= 0, got -1"),
    (noise(12, 12), noise(12, 12), 1, r"must have 11 x 11 pixels within the border, got \(10, 10\)"),
    (noise(12), noise(12), 0, r"pictures must be \(H, W\) or \(H, W, C\), got \(12,\)"),
])
def test_pictures_that_cannot_be_compared_are_refused(first, second, border, message):
    with pytest.raises(ValueError, match=message):
        ssim(first, second, border)


def test_nothing_within_the_border_is_refused():
    with pytest.raises(ValueError, match="must have 1 x 1 pixels within the border"):
        psnr(noise(8, 8), noise(8, 8), border=4)


def test_luma_wants_three_channels():
    with pytest.raises(ValueError, match=r"rgb must be \(H, W, 3\), got \(4, 4\)"):
        luma(noise(4, 4))
