"""Sliding windows and test-time augmentation: every pixel counted, no seams, symmetric."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.models.sliding_window import MarginTiles, SlidingWindow, averaged_scores, resize_maps

lengths = st.integers(1, 40)


def by_place_in_the_window(images: torch.Tensor) -> torch.Tensor:
    """A network whose answer depends on how far right a pixel is in its window: the worst maker of seams."""
    return torch.arange(float(images.shape[3])).expand(len(images), 2, *images.shape[2:])


@given(height=lengths, width=lengths, size=st.tuples(lengths, lengths), data=st.data())
def test_windows_cover_every_pixel_and_stay_inside(height, width, size, data):
    stride = tuple(data.draw(st.integers(1, length)) for length in size)
    seen = torch.zeros(height, width)
    for rows, columns in SlidingWindow(size, stride).places(height, width):
        assert (rows.stop - rows.start, columns.stop - columns.start) == (min(size[0], height), min(size[1], width))
        seen[rows, columns] += 1
    assert seen.min() >= 1


def test_the_last_window_is_shifted_back_inside():
    columns = [place[1] for place in SlidingWindow((4, 48), (4, 32)).places(4, 100)]
    assert [(place.start, place.stop) for place in columns] == [(0, 48), (32, 80), (52, 100)]


def test_a_pixel_gets_the_mean_of_its_windows():
    found = SlidingWindow((1, 4), (1, 2)).logits(by_place_in_the_window, torch.zeros(1, 3, 1, 6))
    assert found[0, 0, 0].tolist() == [0, 1, (2 + 0) / 2, (3 + 1) / 2, 2, 3]


@pytest.mark.parametrize("taper", [False, True])
def test_a_network_that_looks_at_single_pixels_gives_what_it_gives_at_once(taper):
    images = torch.rand(2, 3, 37, 53)
    found = SlidingWindow((16, 24), (9, 13), taper).logits(lambda x: 2 * x, images)
    torch.testing.assert_close(found, 2 * images)


def doubled(images: torch.Tensor) -> torch.Tensor:
    """A network that enlarges by two and looks at single pixels."""
    return images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


@pytest.mark.parametrize("tiling", [
    SlidingWindow((16, 24), (9, 13)), SlidingWindow((16, 24), (9, 13), taper=True), MarginTiles((16, 24), 0),
    MarginTiles((5, 7), 3), MarginTiles((99, 99), 4),
])
def test_a_network_that_enlarges_single_pixels_gives_what_it_gives_at_once(tiling):
    images = torch.rand(2, 3, 37, 53)
    torch.testing.assert_close(tiling.apply(doubled, images, 2), doubled(images))


@given(size=st.tuples(lengths, lengths), margin=st.integers(2, 9), height=lengths, width=lengths)
def test_a_margin_as_wide_as_what_a_pixel_depends_on_hides_the_tiles(size, margin, height, width):
    images = torch.rand(1, 1, height, width)

    def network(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 5, stride=1, padding=2)     # two pixels to each side

    torch.testing.assert_close(MarginTiles(size, margin).apply(network, images), network(images))


def test_a_network_sees_a_tile_and_its_margin_as_far_as_the_picture_goes():
    seen: list[tuple[int, int]] = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append((x.shape[2], x.shape[3]))
        return x

    MarginTiles((4, 8), 2).apply(network, torch.rand(1, 3, 4, 20))
    assert seen == [(4, 10), (4, 12), (4, 6)]


def largest_step(taper: bool) -> float:
    """Between neighbouring pixels of a row, for a network that counts columns: within a window it is 1."""
    found = SlidingWindow((8, 64), (8, 32), taper).logits(by_place_in_the_window, torch.zeros(1, 3, 8, 200))
    return float(found[0, 0].diff(dim=1).abs().max())


def test_tapered_windows_leave_no_seam():
    assert largest_step(taper=False) > 15
    assert largest_step(taper=True) < 1.5


def test_scores_of_a_mirrored_picture_are_mirrored():
    images = torch.rand(1, 3, 12, 20)
    weight = torch.randn(4, 3, 3, 3)

    def network(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, weight, padding=1)

    scores, mirrored = (averaged_scores(network, x, scales=(1.0, 0.5)) for x in (images, images.flip(3)))
    torch.testing.assert_close(scores, mirrored.flip(3))
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(1, 12, 20))


def test_one_picture_as_it_is_gives_its_softmax():
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(averaged_scores(lambda x: x, images, flip=False), images.softmax(dim=1))


def test_a_map_of_the_right_size_is_given_back():
    maps = torch.rand(1, 2, 3, 4)
    assert resize_maps(maps, (3, 4)) is maps


@pytest.mark.parametrize(("size", "stride"), [((0, 4), (1, 1)), ((4,), (4,)), ((4, 4), (0, 4))])
def test_impossible_windows_are_refused(size, stride):
    with pytest.raises(ValueError, match="two numbers >= 1 each"):
        SlidingWindow(size, stride)


@pytest.mark.parametrize(("size", "margin"), [((0, 4), 1), ((4,), 1), ((4, 4), -1)])
def test_impossible_tiles_are_refused(size, margin):
    with pytest.raises(ValueError, match="size must be two numbers >= 1, margin >= 0"):
        MarginTiles(size, margin)


def test_a_scale_of_zero_is_refused():
    with pytest.raises(ValueError, match="scales must be positive"):
        averaged_scores(lambda x: x, torch.rand(1, 3, 4, 4), scales=(0.0,))
