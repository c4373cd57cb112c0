"""Deformable attention: worked by hand, against one query at a time, and where it reads outside."""

from __future__ import annotations

import pytest
import torch

from perception.models.attention.deformable import DeformableAttention, sample_and_mix, star_offsets

close = torch.testing.assert_close


def test_a_point_at_a_cell_centre_reads_that_cell() -> None:
    value = torch.arange(6.0).view(1, 6, 1, 1)                          # one map of two rows and three columns
    location = torch.tensor([2.5 / 3, 1.5 / 2]).view(1, 1, 1, 1, 1, 2)  # last column, last row
    close(sample_and_mix(value, [(2, 3)], location, torch.ones(1, 1, 1, 1, 1)), torch.tensor([[[5.0]]]))


def test_between_four_cells_their_mean_is_read_and_outside_zero() -> None:
    value = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(1, 4, 1, 1)
    places = torch.tensor([[0.5, 0.5], [3.0, 3.0]]).view(1, 1, 1, 1, 2, 2)
    weights = torch.tensor([1.0, 10.0]).view(1, 1, 1, 1, 2)
    close(sample_and_mix(value, [(2, 2)], places, weights), torch.tensor([[[3.0]]]))


def test_levels_and_heads_are_mixed_apart() -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (2, 2)]
    value = torch.randn(2, 16, 2, 3, generator=draw)
    locations = torch.rand(2, 5, 2, 2, 4, 2, generator=draw)
    weights = torch.rand(2, 5, 2, 2, 4, generator=draw)
    both = sample_and_mix(value, shapes, locations, weights)
    first = sample_and_mix(value[:, :12], shapes[:1], locations[:, :, :, :1], weights[:, :, :, :1])
    second = sample_and_mix(value[:, 12:], shapes[1:], locations[:, :, :, 1:], weights[:, :, :, 1:])
    close(both, first + second)
    one_head = sample_and_mix(value[:, :, 1:], shapes, locations[:, :, 1:], weights[:, :, 1:])
    close(both[:, :, 3:], one_head)


def test_heads_begin_in_eight_directions() -> None:
    star = star_offsets(heads=8, levels=1, points=2)
    close(star[0, 0], torch.tensor([[1.0, 0.0], [2.0, 0.0]]))
    close(star[1, 0, 0], torch.tensor([1.0, 1.0]))
    close(star[4, 0, 1], torch.tensor([-2.0, 0.0]), atol=1e-6, rtol=0)


def test_the_first_output_is_the_mean_along_the_star() -> None:
    layer = DeformableAttention(8, heads=8, points=1)
    with torch.no_grad():
        for linear in (layer.value_proj, layer.output_proj):
            torch.nn.init.eye_(linear.weight)
    memory = torch.zeros(1, 25, 8)
    memory[0, 13] = torch.arange(8.0)                                   # row 2, column 3: one right of the middle
    reference = torch.tensor([0.5, 0.5]).view(1, 1, 1, 1, 1, 2)
    seen = layer(torch.randn(1, 1, 8), layer.project(memory), [(5, 5)], reference)
    close(seen, torch.zeros(1, 1, 8), msg="head 0 alone looks there, and its channel holds 0")
    memory[0, 13, 0] = 7.0
    seen = layer(torch.randn(1, 1, 8), layer.project(memory), [(5, 5)], reference)
    close(seen[0, 0], torch.tensor([7.0, 0, 0, 0, 0, 0, 0, 0]))


def test_no_query_gives_no_row() -> None:
    layer = DeformableAttention(8, heads=2)
    value = layer.project(torch.randn(1, 4, 8))
    assert layer(torch.zeros(1, 0, 8), value, [(2, 2)], torch.zeros(1, 0, 1, 1, 1, 2)).shape == (1, 0, 8)


def test_width_must_fit_the_heads() -> None:
    with pytest.raises(ValueError, match=r"channels \(10\) must be divisible by heads \(4\)"):
        DeformableAttention(10, heads=4)
