from __future__ import annotations

import math

import pytest
import torch
from random_frames import random_boxes

from perception.models.heads.center_coder import CenterCoder, axis_of_codes, gather_codes
from perception.structures.boxes3d import wrap_angle

GEOMETRY = {"voxel_size": (0.5, 0.5), "point_range": (-10.0, -8.0), "out_size_factor": 2}


def maps_with_one_box(code: torch.Tensor, column: int, row: int, heat: float = 3.0) -> dict[str, torch.Tensor]:
    maps = {name: torch.zeros(1, width, 16, 20) for name, width in
            (("reg", 2), ("height", 1), ("dim", 3), ("rot", 2), ("vel", 2))}
    start = 0
    for plane in maps.values():
        plane[0, :, row, column] = code[start : start + plane.shape[1]]
        start += plane.shape[1]
    maps["heatmap"] = torch.full((1, 2, 16, 20), -10.0)
    maps["heatmap"][0, 1, row, column] = heat
    return maps


@pytest.mark.parametrize("convention", ["modern", "legacy"])
def test_boxes_survive_the_way_to_codes_and_back(convention):
    coder = CenterCoder(box_convention=convention, **GEOMETRY)
    boxes = random_boxes(50, 7.0, torch.Generator().manual_seed(0))
    cells = coder.cells(boxes).trunc()
    back = coder.decode_codes(coder.encode(boxes, cells), cells)
    columns = [0, 1, 2, 3, 4, 5, 7, 8]
    torch.testing.assert_close(back[:, columns], boxes[:, columns], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(wrap_angle(back[:, 6] - boxes[:, 6]), torch.zeros(50), atol=1e-5, rtol=0)


def test_legacy_code_of_a_box_worked_by_hand():
    coder = CenterCoder(box_convention="legacy", **GEOMETRY)
    heading_left = torch.tensor([[0.5, 0.5, 1.0, 4.0, 2.0, 1.5, math.pi / 2]])           # clockwise yaw -pi
    code = coder.encode(heading_left, torch.tensor([[10.0, 8.0]]))[0]
    torch.testing.assert_close(code[3:6].exp(), torch.tensor([2.0, 4.0, 1.5]))           # width before length
    torch.testing.assert_close(code[6:8], torch.tensor([0.0, -1.0]), atol=1e-6, rtol=0)


def test_a_peak_becomes_a_box_with_its_score_and_label():
    coder = CenterCoder(**GEOMETRY)
    truth = torch.tensor([[3.3, -2.2, 0.7, 4.0, 2.0, 1.5, 0.4, 1.0, -2.0]])
    cell = coder.cells(truth).trunc()
    column, row = (int(value) for value in cell[0])
    found = coder.decode(maps_with_one_box(coder.encode(truth, cell)[0], column, row))[0]
    torch.testing.assert_close(found.boxes, truth, atol=1e-5, rtol=1e-5)
    assert found.labels.tolist() == [1]
    torch.testing.assert_close(found.scores, torch.tensor([3.0]).sigmoid())


def test_boxes_outside_the_range_or_below_the_threshold_are_dropped():
    code = torch.tensor([0.5, 0.5, 0, 1, 1, 1, 0, 1, 0, 0.0])
    maps = maps_with_one_box(code, 3, 3, heat=0.0)                                       # a score of exactly 0.5
    assert len(CenterCoder(score_threshold=0.5, **GEOMETRY).decode(maps)[0]) == 0
    assert len(CenterCoder(score_threshold=0.49, **GEOMETRY).decode(maps)[0]) == 1
    bounded = CenterCoder(score_threshold=0.49, post_center_range=(0, 0, -1, 9, 9, 1), **GEOMETRY)
    assert len(bounded.decode(maps)[0]) == 0                                             # its centre is (-6.5, -4.5)


@pytest.mark.parametrize(
    ("power", "expected"),
    [(2.0, [0.5 * 0.36, 0.5 * 0.36]), ([0.0, 1.0], [0.5, 0.6])], ids=["one_number", "one_a_class"],
)
def test_a_predicted_iou_weights_the_score(power, expected):
    coder = CenterCoder(iou_power=power, **GEOMETRY)
    maps = {"heatmap": torch.zeros(3, 2, 1, 1), "iou": torch.full((3, 1, 1, 1), 0.6)}
    torch.testing.assert_close(coder.scores(maps)[2, :, 0, 0], torch.tensor(expected))


def test_fewer_cells_than_boxes_asked_for_is_no_error():
    coder = CenterCoder(max_num=10_000, score_threshold=0.0, **GEOMETRY)
    code = torch.tensor([0.5, 0.5, 0, 1, 1, 1, 0, 1, 0, 0.0])
    assert len(coder.decode(maps_with_one_box(code, 3, 3))[0]) == 2 * 16 * 20


def test_without_an_offset_branch_the_middle_of_the_cell_is_taken():
    maps = {name: torch.zeros(1, width, 2, 2) for name, width in (("height", 1), ("dim", 3), ("rot", 2))}
    assert gather_codes(maps, torch.tensor([[3]]))[0, 0, :2].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"box_convention": "old"}, "box_convention must be one of"), ({"max_num": 0}, "max_num and out_size_factor"),
     ({"post_center_range": (0, 1)}, "post_center_range takes six numbers")],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CenterCoder(**{**GEOMETRY, **options})


def test_as_many_powers_as_classes_are_needed():
    maps = {"heatmap": torch.zeros(1, 2, 1, 1), "iou": torch.zeros(1, 1, 1, 1)}
    with pytest.raises(ValueError, match="iou_power has 3 numbers for 2 classes"):
        CenterCoder(iou_power=[1.0, 1.0, 1.0], **GEOMETRY).scores(maps)


def test_a_missing_branch_is_named():
    with pytest.raises(ValueError, match="maps lack the branch 'dim'"):
        gather_codes({"reg": torch.zeros(1, 2, 2, 2), "height": torch.zeros(1, 1, 2, 2)}, torch.tensor([[0]]))


@pytest.mark.parametrize("yaw", [0.4, 0.4 + math.pi / 2, -0.4 - math.pi / 2, -3.0, math.pi])
def test_an_axis_sets_the_yaw_on_the_side_of_the_heading(yaw):
    coder = CenterCoder(**GEOMETRY)
    truth = torch.tensor([[3.3, -2.2, 0.7, 4.0, 2.0, 1.5, yaw, 1.0, -2.0]])
    cell = coder.cells(truth).trunc()
    column, row = (int(value) for value in cell[0])
    code = coder.encode(truth, cell)
    axis = torch.zeros(1, 2, 16, 20)
    axis[0, :, row, column] = 0.3 * axis_of_codes(code)[0]                               # its length does not matter
    for blur, turn in ((0.6, 0.0), (-0.6, math.pi)):
        rough = code[0].clone()
        rough[6:8] = 0.01 * torch.tensor([math.sin(yaw + blur + turn), math.cos(yaw + blur + turn)])
        found = coder.decode({**maps_with_one_box(rough, column, row), "axis": axis})[0].boxes
        torch.testing.assert_close(found[:, 6].sin(), torch.tensor([math.sin(yaw + turn)]), atol=1e-5, rtol=0)
        torch.testing.assert_close(found[:, 6].cos(), torch.tensor([math.cos(yaw + turn)]), atol=1e-5, rtol=0)
        torch.testing.assert_close(found[:, :6], truth[:, :6], atol=1e-5, rtol=1e-5)


def test_a_box_turned_half_around_has_the_same_axis():
    boxes = random_boxes(30, 7.0, torch.Generator().manual_seed(1))
    turned = boxes.clone()
    turned[:, 6] += math.pi
    coder, cells = CenterCoder(**GEOMETRY), torch.zeros(30, 2)
    axes = axis_of_codes(coder.encode(boxes, cells))
    torch.testing.assert_close(axis_of_codes(coder.encode(turned, cells)), axes, atol=1e-5, rtol=0)
    torch.testing.assert_close(axes.norm(dim=1), torch.ones(30))
