"""Colours of classes: the data sets' own where they have some, well apart otherwise, varied by instance."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.datasets.cityscapes_labels import CLASSES as CITYSCAPES_CLASSES
from perception.datasets.nuscenes_lidarseg import CLASS_OF_INDEX
from perception.datasets.nuscenes_pictures import PICTURE_CLASSES
from perception.visualization.segment_palette import APART, NUSCENES, distance, instance_color, segment_colors


def test_nuscenes_classes_have_the_devkit_s_colours():
    color_map = pytest.importorskip("nuscenes.utils.color_map").get_colormap()
    by_index = list(color_map.values())                    # in the order of the general indices of lidarseg
    for index, name in CLASS_OF_INDEX.items():
        categories = [by_index[other] for other, class_name in CLASS_OF_INDEX.items() if class_name == name]
        assert by_index[index] in categories
        assert NUSCENES[name] in categories
    assert segment_colors(PICTURE_CLASSES)[PICTURE_CLASSES.index("car")] == (255, 158, 0)


def test_cityscapes_classes_have_its_own_colours():
    colors = dict(zip(CITYSCAPES_CLASSES, segment_colors(CITYSCAPES_CLASSES), strict=True))
    assert colors["road"] == (128, 64, 128)
    assert colors["car"] == (0, 0, 142)
    assert colors["traffic light"] == (250, 170, 30)
    assert colors["bicycle"] == (119, 11, 32)


def test_case_and_underscores_do_not_matter():
    assert segment_colors(("Road", "traffic_light", "building")) == ((128, 64, 128), (250, 170, 30), (70, 70, 70))


def test_names_of_no_palette_keep_their_colours_and_are_well_apart():
    names = tuple(f"thing number {number}" for number in range(12))
    colors = segment_colors(names)
    assert colors == segment_colors.__wrapped__(names)
    assert min(distance(one, other) for one, other in itertools.combinations(colors, 2)) >= APART


@given(st.lists(st.text(max_size=8), unique=True, max_size=40))
def test_every_list_of_classes_gets_a_colour_each(names: list[str]):
    colors = segment_colors(tuple(names))
    assert len(colors) == len(names)
    assert all(0 <= channel <= 255 for color in colors for channel in color)


@pytest.mark.parametrize("color", [(255, 158, 0), (0, 0, 142), (112, 128, 144), (0, 0, 0)])
def test_neighbouring_instances_differ_and_the_first_has_the_colour_of_its_class(color: tuple[int, int, int]):
    colors = [instance_color(color, number) for number in range(8)]
    assert colors[0] == color
    assert min(distance(one, other) for one, other in itertools.pairwise(colors)) > 20.0
