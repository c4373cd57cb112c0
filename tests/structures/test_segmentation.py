import pytest
import torch

from perception.structures import (
    InstancePrediction,
    PanopticPrediction,
    PixelLabels,
    SegmentationPredictions,
    Segments,
)
from perception.structures.segmentation import IGNORE_LABEL

CLASSES = torch.tensor([[0, 0, 1, 1], [0, 2, 1, 1], [IGNORE_LABEL, 2, 2, 1]])
SCORES = torch.tensor([0.9, 0.8])
INSTANCES = torch.tensor([[0, 0, 1, 2], [0, 0, 1, 2], [0, 0, 0, 0]])


def test_segments_tell_the_class_of_each_pixel_again():
    segments = PixelLabels(CLASSES, INSTANCES).segments(things=[1])
    unknown = ~segments.masks.any(dim=0)
    assert torch.equal(segments.classes(), torch.where(unknown, IGNORE_LABEL, CLASSES))
    assert torch.equal(segments.classes(fill=-1) == -1, unknown)


def test_segments_are_instances_of_things_and_whole_classes_of_stuff():
    segments = PixelLabels(CLASSES, INSTANCES).segments(things=[1])
    assert segments.labels.tolist() == [0, 1, 1, 2]
    assert segments.masks.sum(dim=(1, 2)).tolist() == [3, 2, 2, 3]      # the thing without an instance and the ignored


def test_without_instances_each_class_is_one_segment():
    segments = PixelLabels(CLASSES).segments()
    assert segments.labels.tolist() == [0, 1, 2]
    assert torch.equal(segments.masks.sum(dim=0), (CLASSES != IGNORE_LABEL).long())


def test_a_picture_of_ignored_pixels_has_no_segment():
    segments = PixelLabels(torch.full((4, 6), IGNORE_LABEL)).segments(things=[1])
    assert len(segments) == 0
    assert segments.masks.shape == (0, 4, 6)


def regions() -> PanopticPrediction:
    return PanopticPrediction(INSTANCES, torch.tensor([1, 1]), SCORES)


def objects() -> InstancePrediction:
    return InstancePrediction(torch.stack([INSTANCES == 1, INSTANCES == 2]), torch.tensor([1, 1]), SCORES)


def test_predictions_move_with_all_their_parts():
    moved = SegmentationPredictions("a", 7, CLASSES, regions(), objects(), ("road", "car")).to("meta")
    assert moved.panoptic is not None
    assert moved.instances is not None
    parts = (moved.classes, moved.panoptic.ids, moved.panoptic.scores, moved.instances.masks, moved.instances.labels)
    assert all(part.device.type == "meta" for part in parts)
    assert (moved.token, moved.timestamp_ns, moved.class_names) == ("a", 7, ("road", "car"))
    assert (len(moved.panoptic), len(moved.instances)) == (2, 2)


def test_a_picture_without_regions_and_objects_is_a_prediction():
    none = torch.zeros(0, dtype=torch.int64)
    found = SegmentationPredictions(
        "a", 0, CLASSES, PanopticPrediction(CLASSES * 0, none, SCORES[:0]),
        InstancePrediction(torch.zeros(0, *CLASSES.shape, dtype=torch.bool), none, SCORES[:0]),
    )
    assert found.panoptic is not None
    assert len(found.panoptic) == 0


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: PixelLabels(CLASSES.int()), "classes"),
        (lambda: PixelLabels(CLASSES, INSTANCES[:2]), "instances"),
        (lambda: Segments(torch.zeros(2, dtype=torch.int64), torch.zeros(3, 4, 4, dtype=torch.bool)), "masks"),
        (lambda: Segments(torch.zeros(2), torch.zeros(2, 4, 4, dtype=torch.bool)), "labels"),
        (lambda: SegmentationPredictions("a", 0, CLASSES.int()), "classes"),
        (lambda: SegmentationPredictions("a", 0, CLASSES[:2], panoptic=regions()), "panoptic"),
        (lambda: SegmentationPredictions("a", 0, CLASSES[:2], instances=objects()), "instances"),
        (lambda: PanopticPrediction(CLASSES, torch.tensor([0, 1]), SCORES), r"ids must lie in \[0, 2\], got 0 to 255"),
        (lambda: PanopticPrediction(INSTANCES, torch.tensor([0, 1]), SCORES[:1]), "scores"),
        (lambda: PanopticPrediction(INSTANCES, SCORES, SCORES), "labels"),
        (lambda: InstancePrediction(INSTANCES, torch.tensor([0, 1]), SCORES), "masks"),
        (lambda: InstancePrediction(INSTANCES[None] > 0, torch.tensor([0, 1]), SCORES), "labels"),
    ],
)
def test_maps_that_do_not_fit_are_refused_by_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_labels_are_mirrored_with_their_instances():
    labels = PixelLabels(torch.tensor([[0, 1, 2]]), torch.tensor([[0, 5, 6]]), ("road", "car", "bus")).mirrored()
    assert labels.classes.tolist() == [[2, 1, 0]]
    assert labels.names == ("road", "car", "bus")
    assert labels.instances is not None
    assert labels.instances.tolist() == [[6, 5, 0]]


def test_halved_labels_take_the_pixel_at_the_centre_of_each_pair():
    labels = PixelLabels(torch.arange(16).view(2, 8) % 7).resized(1, 4)
    assert labels.classes.tolist() == [[(8 + column) % 7 for column in (1, 3, 5, 7)]]


def test_doubled_labels_repeat_each_pixel():
    assert PixelLabels(torch.tensor([[3, 255]])).resized(2, 4).classes.tolist() == [[3, 3, 255, 255]] * 2
