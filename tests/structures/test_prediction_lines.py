"""Predictions as JSON lines: what is written comes back, and what is malformed is named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from perception.errors import DataError
from perception.structures import Boxes3D, Predictions
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
