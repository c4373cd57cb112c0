"""The parallel map head: orders of a line, matching, losses and decoding."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from map_frames import REGION, lidar_encoder, map_frame

from perception.errors import ConfigError
from perception.models.heads.point_set_map_head import PointSetMapHead
from perception.models.heads.point_set_targets import PointSetCriterion
from perception.models.map_generator import MapGenerator
from perception.models.matching.point_orders import equivalent_orders, padded_orders
from perception.structures import Polylines, VectorMap

close = torch.testing.assert_close


def tiny_head(**options) -> PointSetMapHead:
    torch.manual_seed(0)
    return PointSetMapHead(8, REGION, channels=16, num_queries=6, num_points=5, layers=2, heads=2, **options)


def test_an_open_line_reads_both_ways() -> None:
    orders = equivalent_orders(torch.tensor([[0.0, 0.0], [4.0, 0.0]]), 3)
    close(orders[0], torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]))
    close(orders[1], orders[0].flip(0))
    assert len(orders) == 2


def test_a_closed_line_begins_at_each_of_its_vertices() -> None:
    square = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [0.0, 0.0]])
    orders = equivalent_orders(square, 5)
    assert len(orders) == 4
    close(orders[0], square)
    close(orders[1][0], square[3])                                       # order 1 begins at the last vertex
    close(orders[1][1], square[0])                                       # and goes the same way round


def test_more_orders_than_fit_are_drawn_without_repetition() -> None:
    angles = torch.arange(31) * (2 * math.pi / 30)
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    circle[-1] = circle[0]
    orders, is_order = padded_orders(Polylines.from_lines([circle]), 20, REGION, torch.Generator().manual_seed(0))
    assert is_order.all()
    assert len({tuple(start.tolist()) for start in orders[0, :, 0]}) == 19


def test_orders_are_clamped_into_the_region() -> None:
    orders, _ = padded_orders(Polylines.from_lines([torch.tensor([[-50.0, 0.0], [50.0, 40.0]])]), 5, REGION)
    assert orders[..., 0].abs().max() == 30.0
    assert orders[..., 1].max() == 15.0


def test_a_perfect_prediction_in_reverse_costs_nothing_but_its_class() -> None:
    criterion = PointSetCriterion(REGION, 5)
    line = torch.tensor([[-20.0, 3.0], [10.0, 3.0]])
    targets = criterion.targets(VectorMap(Polylines.from_lines([line]), torch.tensor([1])))
    points = torch.stack([torch.rand(5, 2), targets.orders[0, 0].flip(0)])
    logits = torch.zeros(2, 3)
    match = criterion.match(logits, points, targets)
    assert (match.queries.tolist(), match.order.tolist()) == ([1], [1])
    close(criterion.sums(logits, points, targets, match)[1:], torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("lines", [0, 1, 4])
def test_losses_are_finite_and_reach_every_parameter(lines: int) -> None:
    head = tiny_head()
    losses = head.loss(torch.randn(2, 8, 6, 12), [map_frame(lines=lines), map_frame(lines=0)])
    assert set(losses) == {f"layer{k}.loss_{name}" for k in (0, 1) for name in ("class", "points", "direction")}
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    without = [name for name, parameter in head.named_parameters() if parameter.grad is None]
    assert without == []


def test_a_frame_without_a_map_is_refused() -> None:
    with pytest.raises(ConfigError, match="frame frame-0 has no vector map"):
        tiny_head().loss(torch.randn(1, 8, 6, 12), [replace(map_frame(), vector_map=None)])


def test_a_map_of_other_classes_is_refused() -> None:
    head = tiny_head(classes=("divider", "ped_crossing", "boundary"))
    with pytest.raises(ConfigError, match="the head names the map classes divider, ped_crossing, boundary; the data"):
        head.loss(torch.randn(1, 8, 6, 12), [map_frame()])


def test_predictions_lie_in_the_region_best_first() -> None:
    head = tiny_head(max_elements=7).eval()
    frame = map_frame()
    (found,) = head.decode(head(torch.randn(1, 8, 6, 12)), [frame])
    assert len(found) == 7
    assert (found.scores.diff() <= 0).all()
    assert found.lines.counts.tolist() == [5] * 7
    assert found.lines.vertices[:, 0].abs().max() <= 30.0
    assert found.lines.vertices[:, 1].abs().max() <= 15.0
    assert found.token == frame.token


def test_the_whole_model_learns_one_frame_from_its_points() -> None:
    torch.manual_seed(0)
    model = MapGenerator(
        bev_encoder=lidar_encoder(),
        head={
            "type": "PointSetMapHead", "in_channels": 8, "region": REGION, "channels": 16, "num_queries": 6,
            "num_points": 5, "layers": 2, "heads": 2, "dropout": 0.0,
        },
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    batch = model.data_preprocessor([map_frame()])
    history = []
    for _ in range(60):
        loss = sum(model(**batch, mode="loss").values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0]
    (found,) = model.eval()(**batch, mode="predict")
    assert found.classes == ("ped_crossing", "divider", "boundary")
