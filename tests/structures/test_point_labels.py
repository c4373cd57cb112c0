"""Labels of points stay with their points, whatever is done to the frame."""

from dataclasses import replace

import pytest
import torch

from perception.structures import SE3, Frame, PointCloud, PointLabels, PointPredictions
from perception.structures.segmentation import IGNORE_LABEL

CLASSES = torch.tensor([2, IGNORE_LABEL, 0, 1])
INSTANCES = torch.tensor([7, 0, 0, 9])
LABELS = PointLabels(CLASSES, INSTANCES, ("road", "car", "bus"))
CLOUD = PointCloud(torch.arange(12.0).view(4, 3))


@pytest.mark.parametrize("index", [slice(1, 3), torch.tensor([False, True, True, False]), torch.tensor([1, 2])])
def test_rows_are_chosen_in_both_columns(index):
    chosen = LABELS[index]
    assert chosen.classes.tolist() == [IGNORE_LABEL, 0]
    assert chosen.instances.tolist() == [0, 0]
    assert chosen.names == LABELS.names


def test_filled_rows_have_the_columns_of_the_labels_they_are_joined_to():
    joined = PointLabels.cat([LABELS, LABELS.filled(2), LABELS.filled(1, label=1, instance=3)])
    assert joined.classes.tolist() == [*CLASSES.tolist(), IGNORE_LABEL, IGNORE_LABEL, 1]
    assert joined.instances.tolist() == [*INSTANCES.tolist(), 0, 0, 3]
    assert PointLabels.cat([PointLabels(CLASSES), PointLabels(CLASSES).filled(1)]).instances is None


def test_a_frame_keeps_labels_when_it_moves_scales_or_is_mirrored():
    frame = Frame("a", 0, points=CLOUD, point_labels=LABELS)
    for changed in (frame.moved_by(SE3.about_z(0.3)), frame.scaled_by(1.1), frame.mirrored_y(), frame.to("cpu")):
        assert torch.equal(changed.point_labels.classes, CLASSES)
        assert torch.equal(changed.point_labels.instances, INSTANCES)


def test_points_chosen_from_a_frame_take_their_labels_along():
    order = torch.tensor([3, 0])
    chosen = Frame("a", 0, points=CLOUD, point_labels=LABELS).with_point_rows(order)
    assert torch.equal(chosen.points.data, CLOUD.data[order])
    assert chosen.point_labels.instances.tolist() == [9, 7]
    assert Frame("a", 0, points=CLOUD).with_point_rows(order).point_labels is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PointLabels(CLASSES.int()), r"classes must be \(N,\) int64, got \(4,\) torch.int32"),
        (lambda: PointLabels(CLASSES, INSTANCES[:, None]), r"instances must be \(N,\) int64, got \(4, 1\)"),
        (lambda: PointLabels(CLASSES, INSTANCES[:3]), "there are 3 instances for 4 classes"),
        (lambda: PointLabels.cat([]), "at least one part"),
        (lambda: PointLabels.cat([LABELS, PointLabels(CLASSES)]), "instances are missing in 1 of 2 parts"),
        (lambda: PointPredictions("a", 0, CLASSES.float(), ()), r"classes must be \(N,\) int64"),
        (lambda: Frame("a", 0, points=CLOUD[:3], point_labels=LABELS), "frame a has 4 point labels for 3 points"),
        (lambda: replace(Frame("a", 0), point_labels=LABELS), "4 point labels for 0 points"),
        (lambda: Frame("a", 0).with_point_rows(slice(2)), "frame a has no points to choose from"),
    ],
)
def test_columns_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
