"""Boundary IoU: by hand, against erosion of each mask, and its edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perception.evaluation.segmentation.boundary_iou import (
    BoundaryIoU,
    boundary_iou,
    boundary_width,
    near_boundary,
)

IGNORED = 255
ZEROS = np.zeros((4, 4), np.int64)
MAPS = hnp.arrays(np.int64, (13, 17), elements=st.integers(0, 2))


def eroded_rim(mask: np.ndarray, distance: int) -> np.ndarray:
    """The definition: the mask without what is left after ``distance`` erosions, nothing lying beyond the picture."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    left = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return mask & (left == 0)


def test_the_width_is_two_percent_of_the_diagonal_and_a_pixel_at_least():
    assert boundary_width(1024, 2048) == 46                              # 0.02 * 2289.7
    assert boundary_width(8, 6) == 1


def test_a_shifted_square_by_hand():
    """The rims, one pixel wide, of 5 x 5 squares a column apart have 16 pixels each, and share 4 above and 4 below."""
    first, second = np.zeros((2, 1, 9, 9), np.bool_)
    first[0, 2:7, 1:6] = second[0, 2:7, 2:7] = True
    np.testing.assert_allclose(boundary_iou(first, second), [[8 / 24]], rtol=1e-12)


@given(labels=MAPS, distance=st.integers(1, 4))
def test_the_rim_of_a_map_is_the_rims_of_its_masks(labels: np.ndarray, distance: int):
    rims = [eroded_rim(labels == label, distance) for label in range(3)]
    np.testing.assert_array_equal(near_boundary(labels, distance), np.any(rims, axis=0))


@given(truth=MAPS, predictions=MAPS, ignored=hnp.arrays(np.bool_, (13, 17)))
def test_class_scores_are_those_of_masks_without_the_ignored_pixels(truth, predictions, ignored):
    truth = np.where(ignored, IGNORED, truth)
    scores = BoundaryIoU(3, IGNORED, dilation_ratio=0.1)
    scores.update(truth, predictions)
    for label in range(3):
        rims = [eroded_rim(labels == label, 2) & ~ignored for labels in (truth, predictions)]
        expected = (rims[0] & rims[1]).sum() / (rims[0] | rims[1]).sum() if rims[0].any() else np.nan
        np.testing.assert_allclose(scores.compute()[label], expected, rtol=1e-12)


def test_counts_add_up_over_pictures_and_processes():
    rng = np.random.default_rng(0)
    pictures = [(rng.integers(0, 3, (20, 30)), rng.integers(0, 4, (20, 30))) for _ in range(4)]
    parts = [BoundaryIoU(3), BoundaryIoU(3), BoundaryIoU(3)]
    for number, picture in enumerate(pictures):
        parts[0].update(*picture)
        parts[1 + number % 2].update(*picture)
    parts[1].merge(parts[2])
    np.testing.assert_array_equal(parts[0].compute(), parts[1].compute())
    assert 0 < parts[0].mean() < 1


def test_masks_without_pixels_score_nothing():
    empty = np.zeros((2, 6, 8), np.bool_)
    np.testing.assert_array_equal(boundary_iou(empty, empty[:1]), np.zeros((2, 1)))
    assert boundary_iou(empty[:0], empty).shape == (0, 2)
    assert np.isnan(BoundaryIoU(2).mean())


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: boundary_iou(np.zeros((1, 4, 4)), np.zeros((1, 4, 5))), r"masks must be \(P, H, W\) and \(Q, H, W\)"),
        (lambda: BoundaryIoU(3, dilation_ratio=0.0), "dilation_ratio must be > 0, got 0.0"),
        (lambda: BoundaryIoU(0), "num_classes must be >= 1, got 0"),
        (lambda: BoundaryIoU(2).update(ZEROS + 2, ZEROS), r"truth must lie in \[0, 1\], got 2"),
        (lambda: BoundaryIoU(2).update(ZEROS, ZEROS + 3), r"predictions must lie in \[0, 2\], got 3"),
        (lambda: BoundaryIoU(2).update(np.zeros(4, int), np.zeros(4, int)), r"truth must be \(H, W\), got \(4,\)"),
        (lambda: BoundaryIoU(2).merge(BoundaryIoU(3)), "cannot merge counts of 3 classes"),
    ],
)
def test_what_cannot_be_counted_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
