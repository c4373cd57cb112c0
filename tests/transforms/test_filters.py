"""Range, class and camera filters, and the shuffle."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scene_frames import cloud, scene, sweep

from perception.structures import Camera, Frame, PixelLabels
from perception.structures.segmentation import IGNORE_LABEL
from perception.transforms.drop_cameras import DropCameras
from perception.transforms.filter_classes import FilterClasses
from perception.transforms.filter_instances import FilterInstances
from perception.transforms.point_shuffle import PointShuffle
from perception.transforms.range_filter import RangeFilter

RNG = np.random.default_rng(0)
RANGE = (0.0, -10.0, -2.0, 20.0, 10.0, 4.0)


def test_the_lower_bound_belongs_to_the_range_and_the_upper_does_not():
    points = cloud((0, -10, -2, 0), (20, 0, 0, 0), (0, 10, 0, 0), (0, 0, 4, 0), (-0.001, 0, 0, 0), (19.9, 9.9, 3.9, 0))
    kept = RangeFilter(RANGE)(Frame("a", 0, points=points), RNG).points
    assert torch.equal(kept.data, points.data[[0, 5]])


def test_objects_are_kept_by_their_centre_seen_from_above():
    frame = scene()
    frame.annotations.boxes.tensor[0, 2] = 50.0                            # height does not count
    kept = RangeFilter(RANGE)(frame, RNG).annotations
    assert kept.names() == ["car"]                                         # the pedestrian stands at x = 20
    assert kept.instance_ids == ("first",)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("column", [0, 3])
def test_points_that_are_not_finite_are_dropped_and_counted_once(bad, column, caplog):
    points = cloud((1, 1, 1, 0.5), (2, 2, 2, 0.5), (3, 3, 3, 0.5))
    points.data[1, column] = bad
    keep = RangeFilter(RANGE)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert keep(Frame("a", 0, points=points), RNG).points.xyz[:, 0].tolist() == [1.0, 3.0]
    assert [record.getMessage() for record in caplog.records] == [
        "dropped 1 points that are not finite from frame a; said once"
    ]


def test_an_object_whose_place_is_unknown_is_dropped_and_one_of_unknown_speed_is_kept():
    frame = scene()
    frame.annotations.boxes.tensor[0, 7:] = math.nan
    frame.annotations.boxes.tensor[1, 0] = math.nan
    assert RangeFilter(RANGE)(frame, RNG).annotations.names() == ["car"]


@pytest.mark.parametrize("point_range", [(0, 0, 0, 1, 1), (0, 0, 0, 1, -1, 1), (0, 0, math.nan, 1, 1, 1)])
def test_an_empty_range_is_refused(point_range):
    with pytest.raises(ValueError, match="x0 < x1"):
        RangeFilter(point_range)


def test_a_range_filter_needs_aggregated_sweeps():
    with pytest.raises(ValueError, match="put AggregateSweeps before it"):
        RangeFilter(RANGE)(scene((sweep(0.1, cloud((1, 1, 1, 0))),)), RNG)


def test_labels_are_numbered_in_the_given_order():
    kept = FilterClasses(("bus", "pedestrian", "car"))(scene(), RNG).annotations
    assert kept.labels.tolist() == [2, 1]
    assert kept.names() == ["car", "pedestrian"]


def test_other_classes_and_ignored_objects_are_dropped():
    frame = scene()
    frame.annotations.labels[1] = -1
    assert FilterClasses(("pedestrian", "car"))(frame, RNG).annotations.names() == ["car"]
    assert FilterClasses(("tram",))(scene(), RNG).annotations.names() == []


@pytest.mark.parametrize(("counts", "names"), [([2, 1], ["car"]), ([-1, 0], ["car"]), ([2, 2], ["car", "pedestrian"])])
def test_objects_with_too_few_points_are_dropped_unless_the_count_is_unknown(counts, names):
    frame = scene()
    frame.annotations.num_lidar_pts.copy_(torch.tensor(counts))
    assert FilterClasses(("car", "pedestrian"), min_points=2)(frame, RNG).annotations.names() == names


@pytest.mark.parametrize("classes", [(), ("car", "car"), "car"])
def test_a_class_list_must_be_distinct_names(classes):
    with pytest.raises(ValueError, match="distinct names"):
        FilterClasses(classes)


@pytest.mark.parametrize(("keep", "left"), [((), []), (("front",), ["front"]), (("rear",), [])])
def test_cameras_are_dropped_but_those_to_keep(keep, left):
    assert list(DropCameras(keep)(scene(), RNG).cameras) == left


def test_a_shuffle_keeps_every_point_whole():
    points = PointShuffle()(scene(), np.random.default_rng(2)).points
    assert not torch.equal(points.data, scene().points.data)
    assert sorted(points.data.tolist()) == sorted(scene().points.data.tolist())


def test_small_instances_lose_their_pixels_and_others_keep_them():
    classes, instances = torch.tensor([[0, 0, 1], [1, 1, 2]]), torch.tensor([[4, 4, 9], [9, 9, 0]])
    camera = Camera(None, 0, image=torch.zeros(3, 2, 3, dtype=torch.uint8), labels=PixelLabels(classes, instances))
    frame = Frame("a", 0, cameras={"front": camera, "back": replace(camera, labels=PixelLabels(classes))})
    found = FilterInstances(min_pixels=3)(frame, RNG).cameras
    assert found["front"].labels.classes.tolist() == [[IGNORE_LABEL, IGNORE_LABEL, 1], [1, 1, 2]]
    assert found["front"].labels.instances.tolist() == [[0, 0, 9], [9, 9, 0]]
    assert torch.equal(found["back"].labels.classes, classes)


def test_a_negative_number_of_pixels_is_refused():
    with pytest.raises(ValueError, match="min_pixels must be >= 0, got -1"):
        FilterInstances(-1)
