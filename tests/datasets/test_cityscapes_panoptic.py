"""Panoptic truth out of instance files: by hand, against the official converter, and its edges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from perception.datasets.cityscapes_panoptic import ids_to_rgb, panoptic_truth, rgb_to_ids


def random_instances(rng: np.random.Generator) -> np.ndarray:
    """(H, W) values of an instance file: rectangles of instances, groups and other regions."""
    regions = np.full((40, 60), 7)
    for value in rng.choice([0, 4, 8, 11, 24, 24000, 26, 26000, 26001, 26002, 29, 29000, 33, 33000], 16):
        top, left = rng.integers(0, 34), rng.integers(0, 50)
        regions[top : top + rng.integers(2, 20), left : left + rng.integers(2, 30)] = value
    return regions


def test_groups_are_crowds_and_unscored_regions_are_void():
    truth = panoptic_truth(np.array([[7, 7, 26000, 26], [29000, 4, 26000, 26]]))
    assert truth.ids.tolist() == [[7, 7, 26000, 26], [0, 0, 26000, 26]]
    assert truth.segment_ids.tolist() == [7, 26, 26000]
    assert truth.is_crowd.tolist() == [False, True, False]
    assert truth.boxes.tolist() == [[0, 0, 2, 1], [3, 0, 1, 2], [2, 0, 1, 2]]
    assert truth.train_ids.tolist() == [0, 13, 13]


@pytest.mark.parametrize("seed", range(3))
def test_segments_equal_the_official_converter(seed: int, tmp_path: Path):
    official = pytest.importorskip("cityscapesscripts.preparation.createPanopticImgs")
    regions = random_instances(np.random.default_rng(seed))
    folder = tmp_path / "gtFine/val/town"
    folder.mkdir(parents=True)
    Image.fromarray(regions.astype(np.uint16)).save(folder / "town_000000_000019_gtFine_instanceIds.png")
    official.convert2panoptic(str(tmp_path / "gtFine"), str(tmp_path), useTrainId=False, setNames=["val"])
    expected = json.loads((tmp_path / "cityscapes_panoptic_val.json").read_text())["annotations"][0]
    picture = Image.open(tmp_path / "cityscapes_panoptic_val" / expected["file_name"])
    truth = panoptic_truth(regions)
    np.testing.assert_array_equal(ids_to_rgb(truth.ids), np.array(picture))
    rows = [(row["id"], row["category_id"], row["iscrowd"], row["area"]) for row in expected["segments_info"]]
    columns = (truth.segment_ids, truth.label_ids, truth.is_crowd, truth.areas)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == sorted(rows)


@given(ids=hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 256**3 - 1)))
def test_ids_come_back_from_their_colours(ids: np.ndarray):
    np.testing.assert_array_equal(rgb_to_ids(ids_to_rgb(ids)), ids)


def test_blue_is_the_highest_digit():
    assert ids_to_rgb(np.array([[1 + 2 * 256 + 3 * 65536]])).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: panoptic_truth(np.array([[34]])), "must be those of Cityscapes labels, got 34"),
        (lambda: panoptic_truth(np.array([[255]])), "got 255"),
        (lambda: panoptic_truth(np.array([7])), r"instance_ids must be \(H, W\), got \(1,\)"),
        (lambda: ids_to_rgb(np.array([[256**3]])), "ids must lie in"),
        (lambda: rgb_to_ids(np.zeros((2, 2), np.uint8)), r"rgb must be \(H, W, 3\) uint8, got \(2, 2\) uint8"),
    ],
)
def test_maps_that_are_no_segments_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
