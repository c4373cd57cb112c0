from __future__ import annotations

import pytest
import torch
from lane_frames import RANGE, lane_frame, no_lanes, sd_map, straight
from torch import Tensor

from perception.errors import ConfigError
from perception.structures import Frame
from perception_plugins.mqbank import LaneSegmentHead
from perception_plugins.mqbank.lane_loss import LaneMaps

close = torch.testing.assert_close
NO_MASKS = {"mask": 0.0, "dice": 0.0}


def small_head(**options) -> LaneSegmentHead:
    torch.manual_seed(0)
    decoder = {
        "type": "MQBankDecoder", "channels": 16, "point_range": RANGE, "num_queries": 8, "num_layers": 2, "heads": 4,
        "bank_size": (5, 10), "dropout": 0.0,
    }
    return LaneSegmentHead(decoder, **{"double_last_refine": False, **options})


def bev(batch_size: int = 2) -> Tensor:
    return torch.randn(batch_size, 16, 10, 20, generator=torch.Generator().manual_seed(1))


def said(labels: list[int], scores: list[float]) -> LaneMaps:
    """A lane or crossing for each label: left along y = 1, right along y = -1, with dashed lines left, none right."""
    Q = len(labels)
    lines = [straight((0.0, y), (9.0, y)) for y in (0.0, 1.0, -1.0)]
    logits = torch.full((1, Q, 2), -9.0)
    logits[0, torch.arange(Q), labels] = torch.tensor(scores).logit()
    left, right = torch.zeros(1, Q, 3), torch.zeros(1, Q, 3)
    left[..., 2], right[..., 0] = 5.0, 5.0
    return LaneMaps(torch.randn(1, Q, 16), *(line.expand(1, Q, 10, 3) for line in lines), logits, left, right)


@pytest.mark.parametrize("options", [{}, {"weights": NO_MASKS, "with_topology": False}])
def test_losses_of_a_mixed_batch_reach_every_parameter(options):
    head = small_head(**options)
    frames = [lane_frame("a"), lane_frame("b", no_lanes())]
    losses = head.loss(bev(), frames, {"sd_maps": [sd_map([[-15, 0], [15, 0]]), None]})
    assert all(bool(torch.isfinite(value)) for value in losses.values())
    assert ("loss_mask" in losses) == (options == {})
    sum(losses.values()).backward()
    assert [name for name, parameter in head.named_parameters() if parameter.grad is None] == []


def test_a_head_without_mask_losses_has_no_mask_branch():
    keys = small_head(weights=NO_MASKS).state_dict()
    assert not [key for key in keys if ".mask." in key]


def test_a_head_learns_one_frame_by_heart():
    head, frame = small_head(weights=NO_MASKS, with_topology=False), lane_frame()
    plane, inputs = bev(1), {"sd_maps": [sd_map([[-10, -1.5], [10, -1.5]], lanes=1)]}
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        sum(head.loss(plane, [frame], inputs).values()).backward()
        optimizer.step()
    with torch.no_grad():
        found = head.eval().decode(head(plane, inputs), [frame])[0]
    sure = found.lanes.scores > 0.5
    assert int(sure.sum()) == 2
    truth = frame.lane_graph.lefts[:, :, :2]
    distances = torch.cdist(truth.flatten(1), found.lanes.lefts[sure][:, :, :2].flatten(1)) / 10**0.5
    assert float(distances.min(dim=1).values.max()) < 1.0                # metres, root mean square along the line


def test_lanes_and_crossings_come_best_first():
    head = small_head()
    found = head.decode(said([0, 1, 0, 1], [0.2, 0.5, 0.9, 0.1]), [Frame("frame-0", 5)])[0]
    close(found.lanes.scores, torch.tensor([0.9, 0.2]))
    close(found.lanes.area_scores, torch.tensor([0.5, 0.1]))
    assert (found.token, found.timestamp_ns) == ("frame-0", 5)
    assert found.lanes.connections.shape == (2, 2)
    assert found.lanes.left_types.tolist() == [2, 2]


def test_an_area_is_the_left_boundary_and_the_reversed_right_one():
    found = small_head().decode(said([1], [0.5]), [Frame("frame-0", 0)])[0]
    (outline,) = found.lanes.areas
    close(outline[:, 0], torch.cat([torch.linspace(0, 9, 10), torch.linspace(9, 0, 10)]))
    close(outline[:, 1], torch.tensor([1.0] * 10 + [-1.0] * 10))


def test_lines_are_closed_crossings_and_painted_boundaries_that_are_sure_enough():
    found = small_head(min_line_score=0.3).decode(said([0, 1, 0], [0.2, 0.5, 0.9]), [Frame("frame-0", 0)])[0]
    assert found.names() == ["divider", "ped_crossing"]
    close(found.scores, torch.tensor([0.9, 0.5]))
    divider, crossing = found.lines
    close(divider[:, 1], torch.ones(10))                                 # the left one; the right one is not painted
    assert torch.equal(crossing[0], crossing[-1])


def test_nothing_found_is_an_empty_result():
    found = small_head(min_line_score=1.0).decode(said([0], [0.5]), [Frame("frame-0", 0)])[0]
    assert len(found) == 0
    assert len(found.lanes) == 1
    assert len(found.lanes.areas) == 0


def test_connections_are_those_of_the_kept_order():
    head, raw = small_head(), said([0, 1, 0], [0.2, 0.5, 0.9])
    found = head.decode(raw, [Frame("frame-0", 0)])[0]
    every = head.topology(raw.query)[0].sigmoid()
    close(found.lanes.connections, every[[2, 0]][:, [2, 0]])


def test_predictions_take_the_last_refinement_twice_if_told_so():
    once, twice = small_head().eval(), small_head(double_last_refine=True).eval()
    for head in (once, twice):
        for layer in head.decoder.layers:
            torch.nn.init.constant_(layer.center[-1].bias, 0.3)
    refined, again = once(bev(), {}).centers, twice(bev(), {}).centers
    limits = once.decoder.point_range
    close(limits.to_unit(again).logit(), limits.to_unit(refined).logit() + 0.3, atol=1e-4, rtol=0)


def test_batch_of_frames_gives_a_result_each_and_uses_no_truth():
    head = small_head().eval()
    frames = [Frame("a", 1), Frame("b", 2)]
    results = head.decode(head(bev(), {"sd_maps": [None, None]}), frames)
    assert [result.token for result in results] == ["a", "b"]
    assert [len(result.lanes) + len(result.lanes.areas) for result in results] == [8, 8]


def test_a_frame_without_lane_graph_cannot_be_learned_from():
    with pytest.raises(ConfigError, match="frame x has no lane graph"):
        small_head().loss(bev(1), [Frame("x", 0)], {})


@pytest.mark.parametrize(
    ("options", "message"),
    [({"weights": {"masks": 1.0}}, "weights has no masks; known: label"),
     ({"crossing_edges": "short"}, 'crossing_edges must be "annotated" or "long"')],
)
def test_unknown_options_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        small_head(**options)
