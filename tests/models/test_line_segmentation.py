"""Cells that true lines run through, and their loss beside a map head."""

from __future__ import annotations

import pytest
import torch
from map_frames import CHANNELS, REGION, lidar_encoder, map_frame

from perception.errors import ConfigError
from perception.models.heads.line_segmentation import LineSegmentation, line_masks, lines_of_lanes
from perception.models.map_generator import MapGenerator
from perception.structures import Frame, LaneGraph, Polylines, VectorMap


def one_line(points: list[list[float]], label: int = 1) -> VectorMap:
    return VectorMap(Polylines.from_lines([torch.tensor(points)]), torch.tensor([label]))


def test_a_line_marks_the_cells_under_it_with_rows_along_y() -> None:
    masks = line_masks(one_line([[-30.0, -14.5], [30.0, -14.5]]), (30, 60), REGION)
    assert masks.shape == (3, 30, 60)
    assert masks[1, 0].all()
    assert masks.sum() == 60
    masks = line_masks(one_line([[-29.5, -15.0], [-29.5, 15.0]], label=2), (30, 60), REGION)
    assert masks[2, :, 0].all()
    assert masks.sum() == 30


def test_lines_outside_the_region_mark_nothing() -> None:
    assert line_masks(one_line([[40.0, 20.0], [50.0, 20.0]]), (30, 60), REGION).sum() == 0


def test_lane_graphs_give_dividers_and_crossings() -> None:
    lines = torch.zeros(2, 10, 3)
    lines[..., 0] = torch.linspace(-20, 20, 10)
    none = torch.zeros(2, dtype=torch.int64)
    square = torch.tensor([[0.0, 0, 0], [3, 0, 0], [3, 5, 0], [0, 5, 0], [0, 0, 0]])
    graph = LaneGraph(
        lines, lines + 1, lines - 1, none, none, torch.zeros(2, 2), Polylines.from_lines([square]), torch.tensor([0])
    )
    truth = lines_of_lanes(graph, ("ped_crossing", "divider"))
    assert truth.names() == ["divider"] * 4 + ["ped_crossing"]
    assert lines_of_lanes(graph, ("boundary",)).names() == []


def test_the_loss_falls_to_nothing_for_the_right_cells() -> None:
    head = LineSegmentation(4, REGION, upsample=1, loss_weight=2.0)
    frame = map_frame()
    wanted = line_masks(frame.vector_map, (15, 30), REGION)
    head.forward = lambda bev: (wanted[None] * 2 - 1) * 20                       # type: ignore[method-assign]
    assert head.loss(torch.zeros(1, 4, 15, 30), [frame])["loss_segmentation"] < 1e-6


def test_a_model_learns_with_it_and_predicts_without() -> None:
    head = {
        "type": "PointSetMapHead", "in_channels": 8, "region": REGION, "channels": 16, "num_queries": 6,
        "num_points": 5, "layers": 1, "heads": 2,
    }
    model = MapGenerator(
        lidar_encoder(), head, data_preprocessor={"type": "MapDataPreprocessor", "channels": CHANNELS},
        auxiliary_head={"type": "LineSegmentation", "in_channels": 8, "region": REGION},
    )
    batch = model.data_preprocessor([map_frame()])
    losses = model(**batch, mode="loss")
    losses["loss_segmentation"].backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.bev_encoder.parameters())
    assert len(model.eval()(**batch, mode="predict")) == 1


def test_a_frame_without_a_map_is_refused() -> None:
    head = LineSegmentation(4, REGION)
    with pytest.raises(ConfigError, match="frame a has no vector map"):
        head.loss(torch.zeros(1, 4, 15, 30), [Frame("a", 0)])
