from __future__ import annotations

import math

import pytest
import torch
from random_frames import random_boxes

from perception.models.heads.center_coder import CenterCoder
from perception.models.heads.center_targets import CenterTargets, center_targets
from perception.models.heads.gaussian_targets import draw_gaussians, gaussian_radius

CODER = CenterCoder(voxel_size=(0.5, 0.5), point_range=(-10.0, -8.0, -3.0), out_size_factor=1)
MAP = (32, 40)


def targets_of(boxes: torch.Tensor, labels: list[int], **options: object) -> list[CenterTargets]:
    defaults = {"classes_per_task": [1, 2], "map_size": MAP, "coder": CODER, "min_radius": 1}
    return center_targets([boxes], [torch.tensor(labels, dtype=torch.int64)], **{**defaults, **options})


def box(x: float, y: float, length: float = 4.0, width: float = 2.0) -> list[float]:
    return [x, y, 1.0, length, width, 1.5, 0.3, 2.0, -1.0]


def naive_heatmap(shape: tuple[int, int, int], objects: list[tuple[int, int, int, int]]) -> torch.Tensor:
    """Cell by cell: planes, columns, rows and radii of the objects."""
    heatmap = torch.zeros(shape)
    for plane, column, row, radius in objects:
        sigma = (2 * radius + 1) / 6
        for y in range(max(0, row - radius), min(shape[1], row + radius + 1)):
            for x in range(max(0, column - radius), min(shape[2], column + radius + 1)):
                value = math.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * sigma**2))
                heatmap[plane, y, x] = max(float(heatmap[plane, y, x]), value)
    return heatmap


@pytest.mark.parametrize(("size", "radius"), [((2.0, 4.5), 3.949), ((0.8, 0.9), 1.146)], ids=["car", "pedestrian"])
def test_radius_of_the_published_examples(size, radius):
    cells = torch.tensor([size]) / 0.32
    assert gaussian_radius(cells, 0.1).item() == pytest.approx(radius, abs=1e-3)


@pytest.mark.parametrize("overlap", [0.0, 1.0, -0.1, math.nan])
def test_an_overlap_outside_zero_and_one_is_refused(overlap):
    with pytest.raises(ValueError, match=r"min_overlap must lie in \(0, 1\)"):
        gaussian_radius(torch.ones(1, 2), overlap)


def test_gaussians_equal_a_drawing_cell_by_cell():
    draw = torch.Generator().manual_seed(3)
    objects = torch.stack([torch.randint(0, high, (40,), generator=draw) for high in (3, 20, 16, 7)], dim=1)
    drawn = draw_gaussians((3, 16, 20), objects[:, 0], objects[:, 1:3], objects[:, 3])
    torch.testing.assert_close(drawn, naive_heatmap((3, 16, 20), [tuple(row) for row in objects.tolist()]))


def test_no_objects_draw_nothing():
    none = torch.zeros(0, dtype=torch.int64)
    assert not draw_gaussians((2, 4, 4), none, none.view(0, 1).expand(0, 2), none).any()


def test_code_of_a_box_worked_by_hand():
    target = targets_of(torch.tensor([box(x=0.3, y=-7.9)]), [0])[0]
    assert target.index[0, 0] == 0 * 40 + 20                     # column (0.3 + 10) / 0.5 = 20.6, row 0.2
    assert target.mask.sum() == 1
    expected = [0.6, 0.2, 1.0, math.log(4), math.log(2), math.log(1.5), math.sin(0.3), math.cos(0.3), 2.0, -1.0]
    torch.testing.assert_close(target.codes[0, 0], torch.tensor(expected), atol=1e-5, rtol=1e-5)
    assert target.heatmap[0, 0, 0, 20] == 1.0


def test_slots_follow_the_classes_then_the_given_order():
    boxes = torch.tensor([box(x, 0.0) for x in (1.0, 2.0, 3.0, 4.0, 5.0)])
    first, second = targets_of(boxes, [2, 1, 0, 1, 2])
    column = [int((x + 10) / 0.5) for x in (2.0, 4.0, 1.0, 5.0)]
    assert second.index[0, :4].tolist() == [16 * 40 + c for c in column]
    assert first.mask.sum() == 1
    assert second.heatmap.shape == (1, 2, *MAP)


def test_objects_beyond_the_slots_are_cut_from_the_heatmap_too():
    boxes = torch.tensor([box(x, 0.0) for x in (-5.0, 0.0, 5.0)])
    target = targets_of(boxes, [0, 0, 0], max_objects=2)[0]
    assert target.mask.tolist() == [[True, True]]
    assert (target.heatmap == 1).sum() == 2


@pytest.mark.parametrize(
    "row",
    [box(40.0, 0.0), box(0.0, 8.1), box(0.0, 0.0, length=0.0), box(0.0, 0.0, width=-1.0), box(math.nan, 0.0),
     box(0.0, math.inf), box(1e30, 0.0), box(0.0, 0.0, length=math.nan)],
    ids=["outside_x", "outside_y", "no_length", "negative_width", "nan", "infinite", "huge", "nan_length"],
)
def test_an_unusable_box_leaves_its_slot_empty_and_the_next_one_alone(row):
    target = targets_of(torch.tensor([row, box(1.0, 1.0)]), [0, 0])[0]
    assert target.mask[0, :2].tolist() == [False, True]
    assert (target.heatmap == 1).sum() == 1
    assert torch.isfinite(target.codes).all()


def test_a_centre_just_before_the_first_cell_counts_as_in_it():
    target = targets_of(torch.tensor([box(-10.2, 0.0)]), [0])[0]             # column -0.4 is cut to 0
    assert target.mask[0, 0]
    assert target.codes[0, 0, 0].item() == pytest.approx(-0.4, abs=1e-5)


def test_unknown_velocities_stay_nan():
    target = targets_of(torch.tensor([box(1.0, 1.0)])[:, :7], [0])[0]
    assert target.codes[0, 0, 8:].isnan().all()


def test_a_batch_equals_its_samples_one_by_one():
    draw = torch.Generator().manual_seed(1)
    boxes = [random_boxes(count, 9.0, draw) for count in (12, 0, 7)]
    labels = [torch.randint(-1, 3, (len(rows),), generator=draw) for rows in boxes]
    options = {"classes_per_task": [1, 2], "map_size": MAP, "coder": CODER, "max_objects": 20}
    together = center_targets(boxes, labels, **options)
    for sample in range(3):
        alone = center_targets(boxes[sample : sample + 1], labels[sample : sample + 1], **options)
        for ours, single in zip(together, alone, strict=True):
            assert torch.equal(ours.heatmap[sample], single.heatmap[0])
            assert torch.equal(ours.index[sample], single.index[0])
            torch.testing.assert_close(ours.codes[sample], single.codes[0], equal_nan=True)


def test_codes_around_a_centre_decode_to_the_same_box():
    truth = torch.tensor([box(0.3, 0.1), box(-4.0, 3.2), box(2.0, -5.0)])
    (target,) = targets_of(truth, [0, 0, 1], classes_per_task=[2], box_radius=1, max_objects=4)
    assert target.mask.sum() == 27
    assert target.mask.shape == (1, 36)
    cells = torch.stack([target.index % MAP[1], target.index // MAP[1]], dim=2)
    decoded = CODER.decode_codes(target.codes, cells)[0].view(4, 9, 9)
    torch.testing.assert_close(decoded[:3], truth[:, None].expand(3, 9, 9), atol=1e-5, rtol=0)
    (published,) = targets_of(truth, [0, 0, 1], classes_per_task=[2], max_objects=4)
    middle = slice(4, None, 9)
    assert torch.equal(target.index[:, middle], published.index)
    assert torch.equal(target.codes[:, middle], published.codes)
    assert torch.equal(target.heatmap, published.heatmap)


@pytest.mark.parametrize(
    ("second", "labels", "slots"),
    [(box(0.8, 0.1), [0, 1], 16), (box(0.8, 0.1), [0, 2], 16), (box(9.9, 7.9), [0, 1], 9 + 4)],
    ids=["neighbour", "neighbour of another class", "corner of the map"],
)
def test_cells_outside_the_map_or_with_another_centre_are_no_examples(second, labels, slots):
    (target,) = targets_of(torch.tensor([box(0.3, 0.1), second]), labels, classes_per_task=[3], box_radius=1)
    assert target.mask.sum() == slots


def test_cells_with_a_centre_of_another_task_are_examples():
    boxes = torch.tensor([box(0.3, 0.1), box(0.8, 0.1)])
    targets = targets_of(boxes, [0, 1], box_radius=1)
    assert [int(target.mask.sum()) for target in targets] == [9, 9]
