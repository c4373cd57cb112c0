"""Pictures of classes: which colour stands at which pixel, and that a legend lists what occurs and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perception.errors import DataError
from perception.structures import (
    Annotations,
    Boxes3D,
    Camera,
    Frame,
    InstancePrediction,
    PanopticPrediction,
    PixelLabels,
    PointCloud,
    PointLabels,
    PointPredictions,
    Predictions,
    SegmentationPredictions,
)
from perception.visualization.bev import render_bev
from perception.visualization.camera_overlay import draw_points
from perception.visualization.class_map import UNKNOWN, ClassMap
from perception.visualization.frame_pictures import frame_pictures
from perception.visualization.legend import STRIP, legend_strip
from perception.visualization.palette import TRUTH_COLOR
from perception.visualization.scene3d import render_scene
from perception.visualization.segment_palette import instance_color, segment_colors
from perception.visualization.segment_panels import OPACITY, OUTLINE, joined, overlay_classes
from perception.visualization.video import same_size, write_video

NAMES = ("driveable_surface", "car", "sky")
ROAD, CAR, SKY = segment_colors(NAMES)
CLASSES = torch.tensor([[2, 2, 2, 2, 2, 2], [0, 1, 1, 1, 1, 255], [0, 1, 1, 1, 1, 0]])
INSTANCES = torch.tensor([[0, 0, 0, 0, 0, 0], [0, 5, 5, 9, 9, 0], [0, 5, 5, 9, 9, 0]])


def shows(picture: np.ndarray, color: tuple[int, ...]) -> bool:
    return bool((picture == np.array(color)).all(axis=2).any())


def pixel_map(**parts: torch.Tensor) -> ClassMap:
    return ClassMap.of_pixels(PixelLabels(CLASSES, names=NAMES, **parts))


def mixed(color: tuple[int, int, int], grey: int) -> list[int]:
    return [round((1 - OPACITY) * grey + OPACITY * channel) for channel in color]


def test_a_class_is_laid_over_the_picture_and_what_is_unknown_stays():
    picture = np.full((3, 6, 3), 100, np.uint8)
    drawn = overlay_classes(picture, pixel_map())
    assert drawn[0, 0].tolist() == mixed(SKY, 100)
    assert drawn[1, 1].tolist() == mixed(CAR, 100)
    assert drawn[1, 5].tolist() == [100, 100, 100]


def test_instances_are_outlined_on_both_sides_of_a_border():
    classes = ClassMap.of_pixels(PixelLabels(CLASSES, INSTANCES, NAMES).resized(12, 24))
    edge = classes.outlines()
    assert edge[6, 11:13].tolist() == [True, True]         # between the two cars
    assert edge[4, 4:20].all()                             # under the sky
    assert not edge[5:-1, 5:11].any()                      # inside of a car
    assert not edge[:4].any()                              # the sky is no instance
    drawn = overlay_classes(np.zeros((12, 24, 3), np.uint8), classes)
    assert tuple(drawn[6, 11]) == OUTLINE
    assert drawn[6, 7].tolist() == mixed(CAR, 0)
    assert drawn[6, 15].tolist() == mixed(instance_color(CAR, 1), 0)


@pytest.mark.parametrize("codes", [1, 2**31])
def test_hues_follow_the_order_of_instances_within_a_class_whatever_their_numbers(codes: int):
    colors = pixel_map(instances=INSTANCES * codes).colors
    assert tuple(colors[1, 1]) == CAR
    assert tuple(colors[1, 3]) == instance_color(CAR, 1)
    assert tuple(colors[0, 0]) == SKY
    assert tuple(colors[1, 5]) == UNKNOWN


def test_regions_of_things_are_instances_and_those_of_stuff_are_not():
    ids = torch.tensor([[1, 1, 2, 3, 0, 0]])
    regions = PanopticPrediction(ids, torch.tensor([2, 1, 1]), torch.ones(3))
    found = ClassMap.of_picture(SegmentationPredictions("a", 0, ids * 0, regions, class_names=NAMES, things=(1,)))
    assert found.classes.tolist() == [[2, 2, 1, 1, 255, 255]]
    assert found.instances.tolist() == [[0, 0, 2, 3, 0, 0]]


def test_objects_lie_over_classes_the_best_on_top_and_the_doubtful_are_left_out():
    masks = torch.tensor([[[1, 1, 1, 0]], [[0, 0, 1, 1]], [[1, 0, 0, 0]]]).bool()
    objects = InstancePrediction(masks, torch.tensor([1, 1, 1]), torch.tensor([0.5, 0.9, 0.1]))
    found = SegmentationPredictions("a", 0, torch.zeros(1, 4, dtype=torch.int64), instances=objects, class_names=NAMES)
    assert ClassMap.of_picture(found, min_score=0.3).instances.tolist() == [[1, 1, 2, 2]]


def test_a_legend_holds_exactly_the_classes_that_occur():
    assert pixel_map().legend() == {"driveable_surface": ROAD, "car": CAR, "sky": SKY}
    only_sky = ClassMap.of_pixels(PixelLabels(CLASSES[:1], names=NAMES))
    assert only_sky.legend() == {"sky": SKY}
    strip = legend_strip(only_sky.legend(), NAMES, 600)
    assert shows(strip, SKY)
    assert not shows(strip, CAR)
    assert not shows(strip, ROAD)


def test_entries_of_a_legend_stand_still_when_others_come_and_go():
    all_of_them, one = (legend_strip(colors, NAMES, 500) for colors in (pixel_map().legend(), {"sky": SKY}))
    assert one.shape == all_of_them.shape
    where = (all_of_them == np.array(SKY)).all(axis=2)
    np.testing.assert_array_equal((one == np.array(SKY)).all(axis=2), where)


def test_classes_without_names_are_called_by_their_numbers():
    assert list(ClassMap.of_pixels(PixelLabels(CLASSES)).legend()) == ["class 0", "class 1", "class 2"]
    assert ClassMap.of_pixels(PixelLabels(CLASSES * 0 + 255)).legend() == {}


# Frames.

def driving_frame(**parts: object) -> Frame:
    """Two points ahead and one without finite coordinates, and a grey picture with labels."""
    points = PointCloud(torch.tensor([[22.0, 0.0, 0.0], [12.0, 5.0, 1.0], [float("nan"), 0.0, 0.0]]))
    camera = Camera(None, 0, image=torch.full((3, 240, 480), 100, dtype=torch.uint8))
    return Frame("token", 0, points=points, cameras={"front": camera}, **parts)


LABELS = PointLabels(torch.tensor([1, 255, 0]), names=NAMES)
FOUND = PointPredictions("token", 0, torch.tensor([0, 2, 255]), NAMES)


def test_a_point_has_the_colour_of_its_class_where_it_lies_from_above():
    frame = driving_frame()
    picture = render_bev(frame, extent=50.0, size=500, classes=ClassMap.of_points(LABELS))
    assert tuple(picture[140, 250]) == CAR
    assert tuple(picture[190, 225]) == UNKNOWN


def test_a_point_has_the_colour_of_its_class_in_the_scene():
    picture = render_scene(driving_frame(), backend="software", classes=ClassMap.of_points(LABELS))
    assert shows(picture, CAR)
    assert shows(picture, UNKNOWN)
    assert not shows(picture, ROAD)                        # its point has no place


def test_a_point_has_the_colour_of_its_class_in_a_picture_and_none_without_a_class():
    from test_pictures import forward_camera

    xyz = torch.tensor([[10.0, 0.0, 0.0], [10.0, 2.0, 0.0]])
    classes = ClassMap.of_points(PointLabels(torch.tensor([1, 255]), names=NAMES))
    drawn = draw_points(np.zeros((100, 200, 3), np.uint8), forward_camera(), xyz, classes=classes)
    assert tuple(drawn[50, 100]) == CAR
    assert not drawn[50, 80].any()


def test_true_and_predicted_points_stand_beside_each_other_without_boxes():
    boxes = Annotations(Boxes3D(torch.tensor([[20.0, 0.0, 0.0, 4.0, 2.0, 1.5, 0.0]])), torch.tensor([0]), ("car",))
    frame = driving_frame(point_labels=LABELS, annotations=boxes)
    pictures = frame_pictures(frame, FOUND, views=["bev", "scene"], backend="software")
    for picture in pictures.values():
        half = picture.shape[1] // 2
        left, right = picture[:, : half - 8], picture[:, half + 8 :]
        assert shows(left, CAR)
        assert not shows(left, SKY)
        assert shows(right, ROAD)
        assert shows(right, SKY)
        assert not shows(picture, TRUTH_COLOR)


def test_labels_are_left_out_where_boxes_are_predicted():
    box = Predictions("token", 0, Boxes3D(torch.zeros(0, 7)), torch.zeros(0), torch.zeros(0, dtype=torch.int64), NAMES)
    picture = frame_pictures(driving_frame(point_labels=LABELS), box, views=["bev"])["bev"]
    assert picture.shape == (800, 800, 3)
    assert not shows(picture, CAR)


def found_in(height: int, width: int) -> SegmentationPredictions:
    """The sky above the car, in any size."""
    rows = (torch.arange(height) >= height // 2).long()
    classes = (2 - rows)[:, None].repeat(1, width)
    return SegmentationPredictions("token/front", 0, classes, class_names=NAMES)


def test_masks_of_another_size_are_laid_over_the_whole_picture():
    alone = frame_pictures(driving_frame(), {"front": found_in(60, 120)}, views=["cameras"])["cameras"]
    assert alone.shape[1] == 1280
    top, bottom = 24 + 320 - 20, 24 + 320 + 20             # under the caption, on both sides of the horizon
    assert alone[top, 640].tolist() == mixed(SKY, 100)
    assert alone[bottom, 640].tolist() == mixed(CAR, 100)


def test_true_classes_take_their_names_from_the_prediction_if_they_have_none():
    frame = driving_frame()
    labels = PixelLabels(torch.ones(240, 480, dtype=torch.int64))
    frame.cameras["front"] = Camera(None, 0, image=frame.cameras["front"].image, labels=labels)
    picture = frame_pictures(frame, {"front": found_in(240, 480)}, views=["cameras"])["cameras"]
    left, right = picture[:, :960], picture[:, 968:]
    assert left[24 + 100, 480].tolist() == mixed(CAR, 100)
    assert right[24 + 100, 480].tolist() == mixed(SKY, 100)
    assert not shows(left, SKY)                            # neither in the picture nor in the legend
    assert shows(right, SKY)


def test_a_picture_alone_has_no_other_view(tmp_path: Path):
    frame = Frame("a", 0, cameras=driving_frame().cameras)
    assert list(frame_pictures(frame, found_in(240, 480))) == ["cameras"]


def test_predictions_of_other_points_than_the_frame_has_are_named():
    few = PointPredictions("token", 0, torch.zeros(2, dtype=torch.int64), NAMES)
    with pytest.raises(DataError, match="frame token: points: expected a class for each of its 3 points, got 2"):
        frame_pictures(driving_frame(), few, views=["bev"])


def test_predictions_of_one_picture_are_not_drawn_into_several():
    frame = driving_frame()
    frame.cameras["back"] = frame.cameras["front"]
    with pytest.raises(DataError, match=r"cameras: expected the one whose picture .*, got front, back"):
        frame_pictures(frame, found_in(240, 480))


@pytest.mark.parametrize(("size", "expected"), [((100, 150), (100, 308)), ((100, 300), (208, 300))])
def test_panels_stand_beside_each_other_unless_they_are_wide(size: tuple[int, int], expected: tuple[int, int]):
    one = np.full((*size, 3), 200, np.uint8)
    both = joined([one, one])
    assert both.shape[:2] == expected
    assert shows(both, STRIP)


def test_pictures_of_several_sizes_become_a_video(tmp_path: Path):
    import av

    sizes = [(30, 40), (48, 36)]
    pictures = same_size([np.full((*size, 3), 200, np.uint8) for size in sizes])
    assert [picture.shape for picture in pictures] == [(48, 40, 3)] * 2
    assert not pictures[0][30:].any()
    with av.open(str(write_video(tmp_path / "v.mp4", pictures, 5.0))) as container:
        assert container.streams.video[0].frames == 2
