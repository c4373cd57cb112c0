"""Maps cut again after an augmentation."""

import math

import numpy as np
import pytest
import shapely
import torch
from shapely import LineString, MultiLineString, Polygon, box

from perception.datasets.maps.map_elements import MapLayers, geometry_array
from perception.datasets.maps.window import MapWindow
from perception.datasets.maps.world_map import WorldMap
from perception.structures import SE3, Frame, Polylines, VectorMap
from perception.transforms.crop_vector_map import CropVectorMap

REGION = (-30, -15, 30, 15)
RNG = np.random.default_rng(0)


def frame(*elements: tuple[int, list[tuple[float, ...]]]) -> Frame:
    """A frame whose map has these labels and lines."""
    lines = Polylines.from_lines([torch.tensor(line, dtype=torch.float32) for _, line in elements])
    return Frame("a", 0, vector_map=VectorMap(lines, torch.tensor([label for label, _ in elements], dtype=torch.int64)))


def cropped(given: Frame) -> list[tuple[str, list]]:
    found = CropVectorMap(REGION)(given, RNG).vector_map
    return [(name, line.tolist()) for name, line in zip(found.names(), found.lines, strict=True)]


def test_dividers_end_at_the_region_and_outlines_before_it():
    road = [(-40.0, 2.0), (40.0, 2.0)]
    names = cropped(frame((1, road), (2, road)))
    assert names[0] == ("divider", [[-30, 2], [30, 2]])
    assert names[1] == ("boundary", [pytest.approx([-29.8, 2]), pytest.approx([29.8, 2])])


def test_what_leaves_and_returns_becomes_two_elements_but_a_crossing_stays_one():
    bow = [(-10.0, 0.0), (0.0, 30.0), (10.0, 0.0)]
    assert [name for name, _ in cropped(frame((0, bow), (1, bow), (2, bow)))] == [
        "ped_crossing", "divider", "divider", "boundary", "boundary",
    ]


def test_a_ring_cut_open_is_one_line_across_its_first_vertex():
    [(_, line)] = cropped(frame((2, [(29.0, 0.0), (40.0, 5.0), (40.0, -5.0), (29.0, 0.0)])))
    assert len(line) == 3
    assert line[1] == [29, 0]


def test_elements_outside_and_points_are_left_out_and_an_empty_map_stays_one():
    outside, point = (1, [(40.0, 0.0), (50.0, 0.0)]), (1, [(1.0, 1.0)])
    assert cropped(frame(outside, point)) == []
    assert cropped(frame()) == []


def test_heights_stay():
    [(_, line)] = cropped(frame((1, [(0.0, 0.0, 1.0), (60.0, 0.0, 3.0)])))
    assert line == [[0, 0, 1], [30, 0, 2]]


def test_a_turned_and_cut_map_is_that_of_the_turned_vehicle():
    road = Polygon(box(-100, -4, 100, 5).exterior, [box(3, -1, 9, 1).exterior])
    shapes = [LineString([(-100, 3), (0, 2), (100, 2)])], [road], []
    world, turn = WorldMap(MapLayers(*(geometry_array(kind) for kind in shapes)), "made up"), SE3.about_z(0.5)
    wide = world.around(SE3.identity(), MapWindow((-60, -60, 60, 60), tolerance=0.0))
    turned = Frame("a", 0, vector_map=wide).moved_by(turn)
    found = CropVectorMap(REGION)(turned, RNG).vector_map
    wanted = world.around(turn.inverse(), MapWindow(REGION, tolerance=0.0))
    assert found.labels.tolist() == wanted.labels.tolist()
    drawings = [MultiLineString([line.numpy() for line in each.lines]) for each in (found, wanted)]
    assert shapely.hausdorff_distance(*drawings) < 2e-5       # float32 steps are 4e-6 m at 60 m


def test_a_frame_without_a_map_passes():
    given = Frame("a", 0)
    assert CropVectorMap(REGION)(given, RNG) is given


@pytest.mark.parametrize("region", [(0, 0, 1), (5, 0, 0, 5), (0, 0, math.nan, 5)])
def test_a_region_that_cannot_be_is_refused(region):
    with pytest.raises(ValueError, match="region must be"):
        CropVectorMap(region)
