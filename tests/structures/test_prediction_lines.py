"""Predictions as JSON lines: what is written comes back, and what is malformed is named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from perception.errors import DataError
from perception.structures import Boxes3D, LaneGraph, MapPredictions, Polylines, Predictions
from perception.structures.prediction_lines import prediction_line, read_prediction_lines


def predictions_of(boxes: torch.Tensor, token: str = "frame-1") -> Predictions:
    labels = torch.arange(len(boxes)) % 2
    return Predictions(token, 12, Boxes3D(boxes), torch.full((len(boxes),), 0.5), labels, ("car", "bus"))


def test_a_line_has_names_and_short_numbers():
    box = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.123456789]
    assert json.loads(prediction_line(predictions_of(torch.tensor([box])))) == {
        "token": "frame-1", "timestamp_ns": 12, "boxes": [[*box[:6], 0.1235]], "scores": [0.5], "names": ["car"],
    }


def test_an_unknown_velocity_is_null():
    record = json.loads(prediction_line(predictions_of(torch.tensor([[1.0, 2, 3, 4, 5, 6, 0, math.nan, 1]]))))
    assert record["boxes"][0][7:] == [None, 1.0]


@pytest.mark.parametrize("columns", [7, 9])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_is_written_comes_back(tmp_path: Path, columns: int, count: int):
    boxes = torch.arange(1.0, count * columns + 1).view(count, columns)
    boxes[:, -1:] = math.nan if columns == 9 else 0.25
    written = [predictions_of(boxes, token) for token in ("a", "b")]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(prediction_line(part) + "\n" for part in written))
    back = read_prediction_lines(path)
    assert list(back) == ["a", "b"]
    assert back["b"].names() == written[1].names()
    assert torch.equal(back["b"].scores, written[1].scores)
    if count:
        torch.testing.assert_close(back["b"].boxes.tensor, boxes, equal_nan=True, rtol=0, atol=5e-5)


GOOD = {"token": "a", "timestamp_ns": 1, "boxes": [[0.0] * 6 + [1.0]], "scores": [0.5], "names": ["car"]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"p.jsonl:2: line: expected a JSON object"),
        ("[]", r"p.jsonl:2: token: expected a value of type str, got list"),
        (json.dumps({**GOOD, "timestamp_ns": "1"}), r"p.jsonl:2: timestamp_ns: expected a value of type int, got str"),
        (json.dumps({**GOOD, "scores": []}), r"p.jsonl:2: boxes: expected as many boxes"),
        (json.dumps({**GOOD, "boxes": [[1.0, 2.0]]}), r"p.jsonl:2: boxes: expected as many boxes of 7 or 9 numbers"),
        (json.dumps({**GOOD, "boxes": [["x"] * 7]}), r"p.jsonl:2: boxes: expected as many boxes of 7 or 9 numbers"),
    ],
)
def test_a_malformed_line_is_named_with_its_field(tmp_path: Path, line: str, message: str):
    path = tmp_path / "p.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_prediction_lines(path)


def test_an_absent_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone.jsonl: file: expected predictions as JSON lines"):
        read_prediction_lines(tmp_path / "gone.jsonl")


def map_predictions(lanes: LaneGraph | None = None, dim: int = 2) -> MapPredictions:
    lines = Polylines.from_lines([torch.arange(3.0 * dim).view(3, dim) / 3, torch.full((2, dim), 7.25)])
    scores, labels = torch.tensor([0.75, 0.5]), torch.tensor([1, 0])
    return MapPredictions("frame-1", 12, lines, scores, labels, ("divider", "boundary"), lanes=lanes)


def read_back(tmp_path: Path, predictions: MapPredictions) -> MapPredictions:
    path = tmp_path / "maps.jsonl"
    path.write_text(prediction_line(predictions) + "\n")
    back = read_prediction_lines(path)[predictions.token]
    assert isinstance(back, MapPredictions)
    return back


def test_a_map_line_has_vertices_and_names():
    assert json.loads(prediction_line(map_predictions())) == {
        "token": "frame-1", "timestamp_ns": 12, "scores": [0.75, 0.5], "names": ["boundary", "divider"],
        "lines": [[[0.0, 0.3333], [0.6667, 1.0], [1.3333, 1.6667]], [[7.25, 7.25], [7.25, 7.25]]],
    }


@pytest.mark.parametrize("dim", [2, 3])
def test_map_lines_come_back(tmp_path: Path, dim: int):
    written = map_predictions(dim=dim)
    back = read_back(tmp_path, written)
    assert back.names() == written.names()
    assert torch.equal(back.lines.counts, written.lines.counts)
    torch.testing.assert_close(back.lines.vertices, written.lines.vertices, rtol=0, atol=6e-5)    # rounded to 0.1 mm


def test_a_frame_without_map_elements_comes_back_empty(tmp_path: Path):
    assert len(read_back(tmp_path, map_predictions()[:0])) == 0


@pytest.mark.parametrize("num_lanes", [0, 3])
def test_a_lane_graph_comes_back(tmp_path: Path, num_lanes: int):
    num_points = 4 if num_lanes else 0                     # no line tells how many points it would have
    points = torch.arange(num_lanes * 12.0).view(num_lanes, num_points, 3)
    types, area = torch.arange(num_lanes) % 3, torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    lanes = LaneGraph(
        points, points + 1, points - 1, types, types, torch.rand(num_lanes, num_lanes),
        Polylines.from_lines([area]), torch.tensor([1]), torch.rand(num_lanes), torch.rand(1),
    )
    back = read_back(tmp_path, map_predictions(lanes)).lanes
    assert back is not None
    for name in ("lefts", "rights", "left_types", "right_types", "connections", "area_labels", "scores", "area_scores"):
        torch.testing.assert_close(getattr(back, name), getattr(lanes, name), rtol=0, atol=1e-6)  # six digits
    assert torch.equal(back.areas.vertices, area)


GOOD_MAP = {"token": "a", "timestamp_ns": 1, "lines": [[[0.0, 1.0], [2.0, 3.0]]], "scores": [0.5], "names": ["divider"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lines": {}}, "m.jsonl:1: lines: expected a value of type list, got dict"),
        ({"lines": [[[0.0, 1.0], [2.0]]]}, "m.jsonl:1: lines: expected as many lines of vertices"),
        ({"lines": [[]]}, "m.jsonl:1: lines: expected as many lines of vertices"),
        ({"lines": [[[None, 1.0]]]}, "m.jsonl:1: lines: expected as many lines of vertices"),
        ({"names": []}, "m.jsonl:1: lines: expected as many lines of vertices"),
        ({"lanes": {"centers": []}}, "m.jsonl:1: lanes: expected a lane graph"),
        ({"lanes": [1]}, "m.jsonl:1: lanes: expected a lane graph"),
    ],
)
def test_a_malformed_map_line_is_named_with_its_field(tmp_path: Path, change: dict, message: str):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({**GOOD_MAP, **change}))
    with pytest.raises(DataError, match=message):
        read_prediction_lines(path)
