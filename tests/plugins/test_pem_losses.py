"""Matching and losses of PEM's queries, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from pem_models import halves, nothing, predictions
from torch.nn import functional as F

from perception.structures.segmentation import Segments
from perception_plugins.pem.decoder import MaskPredictions
from perception_plugins.pem.mask_loss import MaskLoss

close = torch.testing.assert_close
SURE = 30.0


def perfect(segments: Segments, queries: int = 5, num_classes: int = 4) -> MaskPredictions:
    """Queries that are sure of the segments, the first one by the last query, and of no object elsewhere."""
    rows = torch.arange(queries - 1, queries - 1 - len(segments), -1)
    logits = torch.full((1, queries, num_classes + 1), -SURE)
    logits[0, :, -1] = SURE
    logits[0, rows, -1] = -SURE
    logits[0, rows, segments.labels] = SURE
    masks = torch.full((1, queries, *segments.masks.shape[1:]), -SURE)
    masks[0, rows] = SURE * (2.0 * segments.masks - 1)
    return MaskPredictions(logits, masks)


def pixel_centres(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Points of a picture of 32 x 48 at which nothing is read between two pixels."""
    sides = torch.tensor([48.0, 32.0])
    return ((torch.rand(shape, device=device) * sides).floor() + 0.5) / sides


def test_perfect_predictions_are_matched_and_cost_next_to_nothing():
    segments, loss = halves(), MaskLoss(4, num_points=200, draw=pixel_centres)
    (match,) = loss.match(perfect(segments), [segments])
    assert dict(zip(match.truth.tolist(), match.query.tolist(), strict=True)) == {0: 4, 1: 3}
    losses = loss(perfect(segments), [segments])
    assert all(value < 1e-3 for value in losses.values())               # points are off by a millionth of 60 logits


def test_a_query_of_the_wrong_class_costs_as_much_as_it_is_wrong():
    segments = halves()
    found = perfect(segments)
    found.logits[0, 4] = torch.tensor([0.0, 0.0, -SURE, -SURE, -SURE])   # half sure of class 0
    losses = MaskLoss(4, num_points=50, weights={"label": 1.0})(found, [segments])
    close(losses["loss_ce"], torch.tensor(math.log(2) / (2 + 3 * 0.1)))  # two matched queries, three without object


def test_pictures_without_anything_known_have_a_class_loss_alone():
    found = predictions()
    losses = MaskLoss(4, num_points=20)(found, [nothing(), nothing()])
    wanted = torch.full((2, 6), 4)
    close(losses["loss_ce"], 2 * F.cross_entropy(found.logits.transpose(1, 2), wanted))
    assert losses["loss_mask"] == losses["loss_dice"] == 0.0
    sum(losses.values()).backward()
    assert not found.masks.grad.any()


def test_an_empty_picture_beside_a_full_one_leaves_the_mask_losses_alone():
    draws = torch.rand(1, 5000, 2)
    loss = MaskLoss(4, num_points=400, draw=lambda shape, device: draws[:, : shape[1]].expand(shape))
    found = predictions(batch=1)
    alone = loss(found, [halves()])
    both = MaskPredictions(*(torch.cat([value, value]) for value in (found.logits, found.masks)))
    beside = loss(both, [halves(), nothing()])
    close(beside["loss_mask"], alone["loss_mask"])
    close(beside["loss_dice"], alone["loss_dice"])


def test_more_segments_than_queries_leave_some_without_a_query():
    found = predictions(batch=1, queries=1)
    losses = MaskLoss(4, num_points=20)(found, [halves()])
    assert all(torch.isfinite(value) for value in losses.values())


def test_every_stage_has_losses_of_its_own():
    stage = predictions()
    losses = MaskLoss(4, num_points=20)(replace(stage, auxiliary=(stage, stage)), [halves(), nothing()])
    names = {f"loss_{kind}{suffix}" for kind in ("ce", "mask", "dice") for suffix in ("", "_0", "_1")}
    assert set(losses) == names
    close(losses["loss_ce"], losses["loss_ce_0"], atol=0.5, rtol=0.5)    # matched at other points


def test_most_points_lie_where_a_mask_is_uncertain():
    logits = torch.full((1, 8, 8), SURE)
    logits[:, :, :2] = 0.0                                               # a quarter of the mask
    loss = MaskLoss(4, num_points=400, uncertain_share=0.5)
    points = loss._points(logits)[0]
    assert (points[:, 0] < 0.25).float().mean() > 0.5
    assert points.shape == (400, 2)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([halves()], "segments must be of 2 pictures, got 1"),
        ([halves(), halves(size=(30, 48))], r"segments\[1\] must have the ratio .* got \(30, 48\): pad them"),
        ([halves(), halves((0, 4))], r"segments\[1\].labels must lie in 0 to 3, got \[0, 4\]"),
        ([halves((-1, 2)), halves()], r"segments\[0\].labels must lie in 0 to 3"),
    ],
)
def test_segments_that_do_not_fit_are_refused(segments, message):
    with pytest.raises(ValueError, match=message):
        MaskLoss(4, num_points=20)(predictions(), segments)


def test_without_points_every_cell_is_compared_with_the_share_that_is_covered():
    found, truth = predictions(batch=1, queries=2), halves(size=(32, 48))
    truth.masks[1, :, 26:] = False               # a column of cells of four pixels is half covered
    losses = MaskLoss(4, num_points=0, weights={"mask": 1.0, "dice": 1.0})(found, [truth])
    cover = torch.nn.functional.avg_pool2d(truth.masks.float(), 4)
    assert cover[1, 0].tolist() == [0.0] * 6 + [0.5] + [0.0] * 5
    (match,) = MaskLoss(4, num_points=0).match(found, [truth])
    logits, wanted = found.masks[0, match.query], cover[match.truth]
    close(losses["loss_mask"], F.binary_cross_entropy_with_logits(logits, wanted))
    overlap, sizes = (logits.sigmoid() * wanted).sum(dim=(1, 2)), (logits.sigmoid() + wanted).sum(dim=(1, 2))
    close(losses["loss_dice"], (1 - (2 * overlap + 1) / (sizes + 1)).mean())


def test_pictures_without_anything_known_need_no_points_either():
    found = predictions()
    losses = MaskLoss(4, num_points=0)(found, [nothing(), halves()])
    assert all(torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("options", [{"num_points": -1}, {"oversampling": 0.5}, {"uncertain_share": 1.5}])
def test_numbers_of_points_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match="num_points must be at least 0, oversampling at least 1"):
        MaskLoss(4, **options)
