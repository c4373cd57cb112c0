"""Predictions of a test as lines: masks lie beside them, in the order of the data set."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from perception.engine.prediction_log import PredictionLogHook
from perception.structures import PointPredictions, SegmentationPredictions
from perception.structures.prediction_lines import read_prediction_lines


@pytest.mark.parametrize("target", ["run.jsonl", "folder"])
def test_masks_of_a_test_are_written_and_come_back(tmp_path: Path, target: str):
    classes = torch.tensor([[0, 1], [1, 255]])
    outputs = [
        [SegmentationPredictions("a/CAM_FRONT", 1, classes), SegmentationPredictions("a/CAM_BACK", 1, 1 - classes % 2)],
        [PointPredictions("b", 2, torch.tensor([0, 1, 255]), ("road", "car"))],
    ]
    hook = PredictionLogHook(tmp_path / target)
    runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=range(3)))
    hook.before_test(runner)
    for number, batch in enumerate(outputs):
        hook.after_test_iter(runner, number, outputs=batch)
    hook.after_test_epoch(runner)
    found = read_prediction_lines(hook.path)
    assert list(found) == ["a/CAM_FRONT", "a/CAM_BACK", "b"]
    assert torch.equal(found["a/CAM_FRONT"].classes, classes)
    assert found["b"].names == ("road", "car")
    assert (hook.path.parent / f"{hook.path.stem}_masks/a/CAM_FRONT.classes.png").is_file()
