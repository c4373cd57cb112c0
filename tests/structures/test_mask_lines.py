"""Predictions of segmentation as lines with files of masks: what is written comes back, what is broken is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from perception.errors import DataError
from perception.structures import (
    InstancePrediction,
    PanopticPrediction,
    PointPredictions,
    SegmentationPredictions,
)
from perception.structures.mask_files import mask_file
from perception.structures.prediction_lines import prediction_line, read_prediction_lines

NAMES = ("road", "car", "sky")
CLASSES = torch.tensor([[2, 2, 2, 2, 2], [1, 1, 0, 1, 255], [0, 0, 0, 0, 0]])
IDS = torch.tensor([[1, 1, 1, 1, 1], [2, 2, 0, 3, 0], [4, 4, 4, 4, 4]])
LABELS, SCORES = torch.tensor([2, 1, 1, 0]), torch.tensor([0.9, 1 / 3, 0.25, 1e-9])


def pixels(token: str = "frame-1/CAM_FRONT") -> SegmentationPredictions:
    return SegmentationPredictions(
        token, 7, CLASSES, PanopticPrediction(IDS, LABELS, SCORES),
        InstancePrediction(torch.stack([IDS == 2, IDS >= 2]), torch.tensor([1, 1]), torch.tensor([0.7, 0.1])),
        NAMES, (1,),
    )


def points(instances: bool = True) -> PointPredictions:
    numbers = torch.tensor([0, 17_004, 1, 0]) if instances else None
    return PointPredictions("sweep", 9, torch.tensor([0, 1, 1, 255]), NAMES, numbers)


def write_line(folder: Path, predictions: SegmentationPredictions | PointPredictions) -> Path:
    path = folder / "predictions.jsonl"
    path.write_text(prediction_line(predictions, path) + "\n")
    return path


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def test_a_picture_comes_back_to_the_bit(tmp_path: Path):
    written = pixels()
    back = read_prediction_lines(write_line(tmp_path, written))[written.token]
    assert isinstance(back, SegmentationPredictions)
    assert (back.token, back.timestamp_ns, back.class_names, back.things) == (written.token, 7, NAMES, (1,))
    assert same(back.classes, CLASSES)
    assert back.panoptic is not None
    assert back.instances is not None
    assert all(same(getattr(back.panoptic, name), value) for name, value in vars(written.panoptic).items())
    assert all(same(getattr(back.instances, name), value) for name, value in vars(written.instances).items())


@pytest.mark.parametrize("instances", [True, False])
def test_points_come_back(tmp_path: Path, instances: bool):
    written = points(instances)
    back = read_prediction_lines(write_line(tmp_path, written))["sweep"]
    assert isinstance(back, PointPredictions)
    assert same(back.classes, written.classes)
    assert back.names == NAMES
    assert (back.instances is None) != instances
    assert not instances or same(back.instances, written.instances)


def test_a_semantic_prediction_has_one_file_that_any_viewer_opens(tmp_path: Path):
    line = prediction_line(SegmentationPredictions("a", 1, CLASSES, class_names=NAMES), tmp_path / "run.jsonl")
    assert json.loads(line)["pixels"] == {
        "size": [3, 5], "names": list(NAMES), "things": [], "classes": "run_masks/a.classes.png",
    }
    with Image.open(tmp_path / "run_masks/a.classes.png") as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), CLASSES.numpy())


def test_regions_are_written_in_coco_s_panoptic_format(tmp_path: Path):
    ids = torch.full((2, 3), 70_000)
    many = PanopticPrediction(ids, torch.zeros(70_000, dtype=torch.int64), torch.zeros(70_000))
    record = json.loads(prediction_line(SegmentationPredictions("a", 1, ids * 0, many), tmp_path / "run.jsonl"))
    colors = np.asarray(Image.open(tmp_path / record["pixels"]["panoptic"]["file_name"])).astype(int)
    np.testing.assert_array_equal(colors @ [1, 256, 65536], ids.numpy())
    first = json.loads(prediction_line(pixels(), tmp_path / "run.jsonl"))["pixels"]["panoptic"]["segments_info"][1]
    assert first == {"id": 2, "category_id": 1, "isthing": 1, "score": pytest.approx(1 / 3)}


def test_classes_beyond_a_byte_are_kept(tmp_path: Path):
    wide = SegmentationPredictions("a", 1, torch.tensor([[0, 256, 65_535]]))
    assert same(read_prediction_lines(write_line(tmp_path, wide))["a"].classes, wide.classes)


@pytest.mark.parametrize("value", [-1, 65_536])
def test_classes_that_no_file_can_hold_are_refused(tmp_path: Path, value: int):
    with pytest.raises(ValueError, match=r"classes must lie in \[0, 65535\] to be written as PNG, got"):
        prediction_line(SegmentationPredictions("a", 1, torch.tensor([[value]])), tmp_path / "p.jsonl")


def test_masks_need_a_file_to_lie_beside():
    with pytest.raises(ValueError, match="predictions of frame sweep have masks: name the `file`"):
        prediction_line(points())


def test_nothing_found_comes_back_as_nothing(tmp_path: Path):
    none = torch.zeros(0, dtype=torch.int64)
    empty = SegmentationPredictions(
        "a", 1, CLASSES, PanopticPrediction(CLASSES * 0, none, torch.zeros(0)),
        InstancePrediction(torch.zeros(0, 3, 5, dtype=torch.bool), none, torch.zeros(0)),
    )
    back = read_prediction_lines(write_line(tmp_path, empty))["a"]
    assert isinstance(back, SegmentationPredictions)
    assert back.panoptic is not None
    assert back.instances is not None
    assert (len(back.panoptic), len(back.instances)) == (0, 0)
    assert back.instances.masks.shape == (0, 3, 5)


@given(st.lists(st.text(st.sampled_from("a./% \\:\n\0"), max_size=5), unique=True, max_size=8))
def test_files_of_distinct_tokens_are_distinct_and_below_the_folder(tokens: list[str]):
    names = [mask_file(Path("run.jsonl"), token, ".png") for token in tokens]
    assert len(set(names)) == len(tokens)
    for name in names:
        parts = name.split("/")
        assert parts[0] == "run_masks"
        assert not {"", ".", ".."} & set(parts)


# What is broken.

def changed(path: Path, **fields: object) -> None:
    record = json.loads(path.read_text())
    kind = "pixels" if "pixels" in record else "points"
    record[kind] |= fields
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": [3]}, "predictions.jsonl:1: pixels.size: expected rows and columns"),
        ({"names": "road"}, "predictions.jsonl:1: pixels.names: expected names of classes"),
        ({"things": ["x"]}, "predictions.jsonl:1: pixels.things: expected numbers of classes"),
        ({"classes": "gone.png"}, r"predictions.jsonl:1: pixels.classes: expected a file .*gone.png, got no such file"),
        ({"classes": "../x.png"}, "pixels.classes: expected a path below the folder of the lines, got ../x.png"),
        ({"classes": "/x.png"}, "pixels.classes: expected a path below the folder of the lines, got /x.png"),
        ({"panoptic": 3}, "pixels.panoptic: expected a JSON object, got int"),
        ({"panoptic": {"file_name": "x"}}, "pixels.panoptic.segments_info: expected regions 1, 2, ... with scores"),
        ({"instances": {"labels": [1], "scores": []}}, "pixels.instances.scores: expected 1 numbers, got 0"),
    ],
)
def test_a_malformed_record_is_named_when_the_file_is_opened(tmp_path: Path, fields: dict, message: str):
    path = write_line(tmp_path, pixels())
    changed(path, **fields)
    with pytest.raises(DataError, match=message):
        read_prediction_lines(path)


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("classes.png", r"CAM_FRONT.classes.png: classes: expected a whole PNG picture"),
        ("panoptic.png", r"CAM_FRONT.panoptic.png: panoptic: expected a whole PNG picture"),
        ("instances.npz", r"CAM_FRONT.instances.npz: masks: expected a whole .npz file"),
    ],
)
def test_a_truncated_file_of_masks_is_named_when_it_is_read(tmp_path: Path, ending: str, message: str):
    path = write_line(tmp_path, pixels())
    masks = tmp_path / f"predictions_masks/frame-1/CAM_FRONT.{ending}"
    masks.write_bytes(masks.read_bytes()[:-30])
    found = read_prediction_lines(path)
    assert "frame-1/CAM_FRONT" in found
    with pytest.raises(DataError, match=message):
        found["frame-1/CAM_FRONT"]


def test_masks_of_another_size_or_kind_are_named(tmp_path: Path):
    path = write_line(tmp_path, pixels())
    changed(path, size=[5, 3])
    with pytest.raises(DataError, match="expected 3 x 5 pixels of mode RGB, got 5 x 3 of mode RGB"):
        read_prediction_lines(path)["frame-1/CAM_FRONT"]
    path = write_line(tmp_path, points())
    changed(path, count=5)
    with pytest.raises(DataError, match=r"sweep.points.npz: classes: expected \(5,\) whole numbers, got \(4,\)"):
        read_prediction_lines(path)["sweep"]


def test_a_region_that_the_line_does_not_know_is_named(tmp_path: Path):
    path = write_line(tmp_path, pixels())
    record = json.loads(path.read_text())
    record["pixels"]["panoptic"]["segments_info"].pop()
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"panoptic: expected regions from 0 to 3 as in the line, got 4"):
        read_prediction_lines(path)["frame-1/CAM_FRONT"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "p_masks").write_text("in the way")
    with pytest.raises(DataError, match=r"a.classes.png: masks: expected a file that can be written"):
        prediction_line(SegmentationPredictions("a", 1, CLASSES), tmp_path / "p.jsonl")
