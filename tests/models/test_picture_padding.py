from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from perception.models.picture_padding import mirrored, reflected


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_reflection_leaves_the_edge_pixel_alone():
    assert reflected(row(1, 2, 3, 4, 5), 4)[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 4, 3, 2]


def test_mirroring_repeats_the_edge_pixel_and_pads_what_fits_already():
    assert mirrored(row(1, 2, 3, 4, 5), 4)[0, 0, 0].tolist() == [1, 2, 3, 4, 5, 5, 4, 3]
    assert mirrored(row(1, 2, 3, 4), 4)[0, 0, 0].tolist() == [1, 2, 3, 4, 4, 3, 2, 1]


def test_a_picture_that_fits_is_given_back():
    images = torch.rand(1, 3, 8, 16)
    assert reflected(images, 8) is images


@given(height=st.integers(9, 40), width=st.integers(9, 40), divisor=st.integers(1, 9))
def test_reflection_is_that_of_torch_where_torch_can(height, width, divisor):
    images = torch.rand(1, 2, height, width)
    expected = F.pad(images, (0, -width % divisor, 0, -height % divisor), mode="reflect")
    assert torch.equal(reflected(images, divisor), expected)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 1)])
def test_pictures_smaller_than_the_padding_are_padded_too(size):
    images = torch.rand(1, 3, *size)
    assert reflected(images, 16).shape == mirrored(images, 16).shape == (1, 3, 16, 16)
    assert set(reflected(images, 16).unique().tolist()) == set(images.unique().tolist())
