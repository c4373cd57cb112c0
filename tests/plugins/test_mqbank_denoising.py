"""True lanes out of place: how far they go, and what a head learns from them."""

from __future__ import annotations

import pytest
import torch
from lane_frames import RANGE, lane_frame, no_lanes
from torch import Tensor

from perception.errors import ConfigError
from perception_plugins.mqbank import LaneSegmentHead
from perception_plugins.mqbank.lane_denoising import LaneDenoising
from perception_plugins.mqbank.lane_targets import lane_targets
from perception_plugins.mqbank.sd_anchors import ANCHOR_CROSSING, ANCHOR_ROAD

STILL = LaneDenoising(shift=0.0, angle=0.0, least=1.0)
close = torch.testing.assert_close


def small_head(**options) -> LaneSegmentHead:
    torch.manual_seed(0)
    decoder = {
        "type": "MQBankDecoder", "channels": 16, "point_range": RANGE, "num_queries": 8, "num_layers": 2, "heads": 4,
        "bank_size": (5, 10), "dropout": 0.0,
    }
    return LaneSegmentHead(decoder, weights={"mask": 0.0, "dice": 0.0}, denoising={}, **options)


def bev(batch_size: int = 2) -> Tensor:
    return torch.randn(batch_size, 16, 10, 20, generator=torch.Generator().manual_seed(1))


def distances(lines: Tensor) -> Tensor:
    """(M, 3, K, 3) -> (M, 3 K, 3 K) between all points of an element."""
    points = lines.flatten(1, 2)
    return (points[:, :, None] - points[:, None]).norm(dim=3)


def test_anchors_that_are_not_moved_are_the_true_elements() -> None:
    truth = lane_targets(lane_frame().lane_graph)
    (anchors,), (match,) = STILL.anchors([truth], 8)
    assert sorted(match.truth.tolist()) == [0, 1, 2]
    close(anchors.centers, truth.centers[match.truth])
    close(anchors.lefts, truth.lefts[match.truth])
    close(anchors.rights, truth.rights[match.truth])
    kinds = [ANCHOR_CROSSING if index == 2 else ANCHOR_ROAD for index in match.truth.tolist()]
    assert anchors.kinds.tolist() == kinds


def test_elements_keep_their_shape_and_their_middle_when_they_are_turned() -> None:
    truth = lane_targets(lane_frame().lane_graph)
    lines = torch.stack([truth.centers, truth.lefts, truth.rights], dim=1)
    moved = LaneDenoising(shift=0.0, angle=30.0, least=1.0).moved(lines, torch.Generator().manual_seed(0))
    close(moved.mean(dim=(1, 2)), lines.mean(dim=(1, 2)), atol=1e-4, rtol=0)
    close(distances(moved), distances(lines), atol=1e-4, rtol=0)
    assert (moved - lines).abs().max() > 0.5


def test_parts_lie_on_their_element_and_are_as_long_as_is_asked_for() -> None:
    lines = torch.zeros(500, 3, 10, 3)
    lines[..., 0] = torch.linspace(0.0, 50.0, 10)
    parts = LaneDenoising(least=0.4).parts(lines, torch.Generator().manual_seed(0))
    lengths = parts[:, 0, -1, 0] - parts[:, 0, 0, 0]
    assert 20 - 1e-3 <= lengths.min() < 21
    assert 49 < lengths.max() <= 50 + 1e-3
    assert parts.min() >= 0
    assert parts.max() <= 50 + 1e-3
    close(parts[:, 0], parts[:, 2])
    close(parts.diff(dim=2).std(dim=2), torch.zeros(500, 3, 3), atol=1e-4, rtol=0)


def test_shifts_have_the_spread_that_is_asked_for() -> None:
    lines = torch.zeros(4000, 3, 10, 3)
    moved = LaneDenoising(shift=1.5, angle=0.0, least=1.0).moved(lines, torch.Generator().manual_seed(0))
    close(moved[:, 0, 0, :2].std(dim=0), torch.full((2,), 1.5), atol=0.06, rtol=0)
    assert (moved[..., 2] == 0).all()


def test_no_more_anchors_than_queries() -> None:
    truth = lane_targets(lane_frame().lane_graph)
    (anchors,), (match,) = STILL.anchors([truth], 2)
    assert len(anchors) == len(match.query) == len(set(match.truth.tolist())) == 2


def test_its_losses_stand_beside_the_others_and_reach_every_parameter() -> None:
    head = small_head()
    losses = head.loss(bev(), [lane_frame("a"), lane_frame("b", no_lanes())], {})
    assert {name for name in losses if name.endswith("_dn")} == {
        "loss_label_dn", "loss_line_dn", "loss_left_type_dn", "loss_right_type_dn",
    }
    torch.stack(list(losses.values())).sum().backward()
    assert [name for name, weight in head.named_parameters() if weight.grad is None] == []


def test_frames_without_lanes_have_losses_too() -> None:
    losses = small_head().loss(bev(), [lane_frame("a", no_lanes())] * 2, {})
    assert all(bool(torch.isfinite(value)) for value in losses.values())
    assert losses["loss_line_dn"] == 0


def test_negative_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="must be >= 0 and least in"):
        LaneDenoising(shift=-1.0)


def test_a_decoder_without_anchors_is_refused() -> None:
    decoder = {"type": "LaneSegDecoder", "channels": 16, "point_range": RANGE, "num_queries": 8, "num_layers": 1}
    with pytest.raises(ConfigError, match="denoising needs a decoder that takes anchors, not LaneSegDecoder"):
        LaneSegmentHead(decoder, denoising={})
