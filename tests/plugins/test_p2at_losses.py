"""P2AT's boundary targets and losses."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.models.losses.lovasz import LovaszSoftmaxLoss
from perception.models.losses.ohem import ohem_cross_entropy
from perception.models.losses.weighted_cross_entropy import pixel_accuracy
from perception.registry import MODELS
from perception.structures.segmentation import IGNORE_LABEL
from perception_plugins.p2at import P2ATLoss
from perception_plugins.p2at.boundary import boundary_map
from perception_plugins.p2at.losses import (
    balanced_boundary_loss,
    batch_dice_loss,
    labels_at_boundaries,
)


def boundary_by_opencv(classes: np.ndarray) -> np.ndarray:
    """(H, W) uint8 -> (H, W) float32, with the calls that the authors make."""
    slopes = (cv2.Sobel(classes, cv2.CV_64F, *axis, ksize=5) for axis in ((1, 0), (0, 1)))
    strength = np.sqrt(sum(slope**2 for slope in slopes))
    scaled = cv2.normalize(strength, None, 0, 255, cv2.NORM_MINMAX)
    return cv2.dilate((scaled > 50).astype(np.uint8), np.ones((4, 4), np.uint8)).astype(np.float32)


def test_a_straight_border_is_marked_on_both_sides():
    classes = torch.zeros(1, 6, 12, dtype=torch.int64)
    classes[:, :, 6:] = 1                            # slopes 1, 3, 3, 1 on columns 4 to 7, of which all are strong
    expected = torch.zeros(1, 6, 12)
    expected[:, :, 3:10] = 1                         # and one further to the left, two to the right
    assert torch.equal(boundary_map(classes), expected)


@given(
    seed=st.integers(0, 10_000), height=st.integers(1, 12), width=st.integers(1, 12),
    numbers=st.sampled_from([(0, 1), (3, 4, 10, 255), tuple(range(19))]),
)
def test_boundaries_equal_opencvs(seed, height, width, numbers):
    classes = np.random.default_rng(seed).choice(np.array(numbers, dtype=np.uint8), (height, width))
    ours = boundary_map(torch.from_numpy(classes.astype(np.int64))[None])[0]
    assert np.array_equal(ours.numpy(), boundary_by_opencv(classes))


def test_each_picture_is_measured_by_its_own_strongest_border():
    faint, strong = torch.zeros(2, 8, 8, dtype=torch.int64)
    faint[:, 4:], strong[:, 4:] = 1, 200
    assert torch.equal(boundary_map(torch.stack([faint, strong])).diff(dim=0).abs().sum(), torch.tensor(0.0))


@pytest.mark.parametrize("label", [0, IGNORE_LABEL])
def test_one_class_has_no_boundary(label):
    assert not boundary_map(torch.full((1, 5, 5), label)).any()


def test_the_rarer_side_weighs_as_much_more():
    boundaries = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    loss = balanced_boundary_loss(torch.zeros(1, 1, 4), boundaries)
    torch.testing.assert_close(loss, torch.tensor((0.75 + 3 * 0.25) / 4 * math.log(2)))


def test_dice_of_a_sure_and_right_map_is_zero():
    targets = torch.tensor([[[1.0, 0.0, 1.0]]])
    torch.testing.assert_close(batch_dice_loss(200 * targets - 100, targets), torch.tensor(0.0))


def test_accuracy_counts_an_ignored_pixel_as_wrong():
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 2.0]])[None, :, None]          # classes 0, 1, 1
    labels = torch.tensor([[[0, 1, IGNORE_LABEL]]])
    torch.testing.assert_close(pixel_accuracy(logits, labels), torch.tensor(200 / 3))


def test_labels_remain_where_a_boundary_is_sure():
    labels = labels_at_boundaries(torch.tensor([[[2.0, 1.0]]]), torch.tensor([[[3, 3]]]))   # 0.88, 0.73
    assert labels.tolist() == [[[3, IGNORE_LABEL]]]


def test_losses_whose_maps_are_missing_are_left_out():
    criterion = MODELS.build({"type": "P2ATLoss", "semantic_weight": 0.5})
    final, labels = torch.randn(1, 3, 4, 4), torch.randint(3, (1, 4, 4))
    losses = criterion(final, labels)
    expected = 0.5 * ohem_cross_entropy(final, labels, threshold=0.9, min_kept=131_072)
    assert list(losses) == ["loss_semantic"]
    torch.testing.assert_close(losses["loss_semantic"], expected)


def test_class_weights_reach_all_cross_entropies():
    final, aux, boundary = torch.randn(3, 1, 2, 4, 4)
    maps = (final, torch.ones(1, 4, 4, dtype=torch.int64), aux, boundary[:, 0] + 10, torch.ones(1, 4, 4))
    plain, weighted = P2ATLoss()(*maps), P2ATLoss(class_weights=(1.0, 2.0))(*maps)
    for name in ("loss_semantic", "loss_auxiliary", "loss_boundary_semantic"):
        torch.testing.assert_close(weighted[name], 2 * plain[name])
    assert torch.equal(weighted["loss_boundary"], plain["loss_boundary"])


def test_boundaries_and_classes_of_few_pixels_are_weighted_on_demand():
    final, aux, boundary = torch.randn(3, 1, 3, 8, 8)
    labels = torch.randint(3, (1, 8, 8))
    maps = (final, labels, aux, boundary[:, 0], torch.randint(2, (1, 8, 8)).float())
    plain, weighted = P2ATLoss()(*maps), P2ATLoss(boundary_weight=0.5, lovasz_weight=2.0)(*maps)
    torch.testing.assert_close(weighted["loss_boundary"], 0.5 * plain["loss_boundary"])
    seen = LovaszSoftmaxLoss()(final[0, :, 2::4, 2::4].flatten(1).T, labels[0, 2::4, 2::4].flatten())
    torch.testing.assert_close(weighted["loss_lovasz"], 2 * seen)
    assert "loss_lovasz" not in plain
