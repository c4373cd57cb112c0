"""Clouds and pillars that need no data set."""

from __future__ import annotations

import pytest
import torch

from perception.engine.benchmark.clouds import street_boxes, street_frame, street_pillars, street_points


def test_points_are_dense_near_the_vehicle():
    points = street_points(10_000, 5)
    radius = points[:, :2].norm(dim=1)
    assert points.shape == (10_000, 5)
    assert radius.min() >= 2.999
    assert radius.max() <= 50.001                          # both bounds with float32's rounding
    assert (radius < 12.25).float().mean() == pytest.approx(0.5, abs=0.02)     # log-uniform: the geometric mean halves


def test_more_channels_leave_the_places_as_they_are():
    assert torch.equal(street_points(100, 4)[:, :3], street_points(100, 6)[:, :3])


@pytest.mark.parametrize(("count", "samples"), [(0, 1), (24, 1), (25, 2), (100, 5)])
def test_pillars_are_distinct_ordered_cells_that_leave_half_of_each_grid_empty(count: int, samples: int):
    coords, found = street_pillars(count, (8, 6))
    assert (found, coords.dtype, coords.shape) == (samples, torch.int32, (count, 4))
    assert torch.equal(coords, coords.unique(dim=0))       # sorted in lexicographic order, no two alike
    assert coords[:, 0].bincount(minlength=samples).max() <= 24
    assert count == 0 or (coords.amax(0) < torch.tensor([samples, 1, 6, 8])).all()


def test_pillars_are_dense_near_the_vehicle():
    coords, _ = street_pillars(5_000, (468, 468))
    distance = (coords[:, 2:].float() - 233.5).norm(dim=1)
    assert distance.median() < 0.6 * 233.5 / 1.3           # drawn evenly, half of them would lie beyond 0.8 of that


def test_a_frame_is_annotated_in_the_classes_given():
    frame = street_frame(500, ("x", "y", "z", "intensity"), ("car", "bus"), boxes=5)
    assert frame.points is not None
    assert frame.points.channels == ("x", "y", "z", "intensity")
    assert frame.annotations is not None
    assert frame.annotations.labels.tolist() == [0, 1, 0, 1, 0]
    assert torch.equal(frame.annotations.boxes.tensor, street_boxes(5))
