"""Pictures with labels in COCO's panoptic format: classes, instances, crowds, other layouts and bad files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perception.datasets.cityscapes_panoptic import ids_to_rgb
from perception.datasets.coco_panoptic import CocoPanopticDataset
from perception.datasets.picture_dataset import CAMERA
from perception.errors import ConfigError, DataError
from perception.structures import PixelLabels

CATEGORIES = [
    {"id": 93, "name": "blanket", "isthing": 0}, {"id": 3, "name": "car", "isthing": 1},
    {"id": 1, "name": "person", "isthing": 1},
]
IDS = np.array([[0, 70000, 70000, 9], [5, 5, 300, 300]])
SEGMENTS = [(70000, 1, 0), (9, 93, 0), (5, 1, 0), (300, 3, 1)]                # id, category, crowd


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    write(tmp_path / "val2017/000007.jpg", np.zeros((2, 4, 3), np.uint8))
    write(tmp_path / "annotations/panoptic_val2017/000007.png", ids_to_rgb(IDS))
    annotate(tmp_path)
    return tmp_path


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def annotate(root: Path, **changes: Any) -> None:
    """The JSON file of one picture, with other entries by name."""
    segments = [{"id": number, "category_id": category, "iscrowd": crowd} for number, category, crowd in SEGMENTS]
    content = {
        "categories": CATEGORIES, "images": [{"id": 7, "file_name": "000007.jpg", "height": 2, "width": 4}],
        "annotations": [{"image_id": 7, "file_name": "000007.png", "segments_info": segments}], **changes,
    }
    (root / "annotations/panoptic_val2017.json").write_text(json.dumps(content))


def opened(root: Path, **options: Any) -> CocoPanopticDataset:
    return CocoPanopticDataset(root, split="val2017", **options)


def labels_of(dataset: CocoPanopticDataset) -> PixelLabels:
    labels = dataset[0].cameras[CAMERA].labels
    assert labels is not None
    return labels


def test_classes_are_the_categories_by_id_and_crowds_have_no_instance(coco: Path):
    dataset = opened(coco)
    labels = labels_of(dataset)
    assert dataset.classes == ("person", "car", "blanket")
    assert dataset.metainfo["things"] == ("person", "car")
    assert labels.classes.tolist() == [[255, 0, 0, 2], [0, 0, 1, 1]]
    assert labels.instances is not None
    assert labels.instances.tolist() == [[0, 2, 2, 0], [1, 1, 0, 0]]
    assert labels.segments(things=(0, 1)).labels.tolist() == [0, 0, 2]       # the crowd is none
    assert dataset.class_counts(0).tolist() == [4, 2, 1]


def test_classes_may_be_some_of_the_categories_and_have_other_names(coco: Path):
    dataset = opened(coco, names=("human", "vehicle", "cloth"), classes=("cloth", "human"))
    assert labels_of(dataset).classes.tolist() == [[255, 1, 1, 0], [1, 1, 255, 255]]
    assert dataset.metainfo["things"] == ("human",)


def test_unlabelled_pictures_need_no_masks(coco: Path):
    (coco / "annotations/panoptic_val2017/000007.png").unlink()
    annotate(coco, annotations=[])
    assert opened(coco, labelled=False)[0].cameras[CAMERA].labels is None


def test_cityscapes_layout_is_read_by_the_ids_of_its_pictures(tmp_path: Path):
    write(tmp_path / "leftImg8bit/val/aachen/aachen_000000_000019_leftImg8bit.png", np.zeros((1, 2, 3), np.uint8))
    stem = tmp_path / "gtFine/cityscapes_panoptic_val"
    write(stem / "aachen_000000_000019_gtFine_panoptic.png", ids_to_rgb(np.array([[7, 26000]])))
    segments = [{"id": 7, "category_id": 7, "iscrowd": 0}, {"id": 26000, "category_id": 26, "iscrowd": 0}]
    token = "aachen_000000_000019"
    content = {
        "images": [{"id": token, "file_name": f"{token}_gtFine_leftImg8bit.png"}],    # so the official converter
        "categories": [{"id": 7, "name": "road", "isthing": 0}, {"id": 26, "name": "car", "isthing": 1}],
        "annotations": [
            {"image_id": token, "file_name": f"{token}_gtFine_panoptic.png", "segments_info": segments}
        ],
    }
    stem.with_suffix(".json").write_text(json.dumps(content))
    dataset = CocoPanopticDataset(
        tmp_path, split="val", annotations="gtFine/cityscapes_panoptic_{split}.json", pictures="leftImg8bit/{split}",
        picture_name="{id}_leftImg8bit.png",
    )
    assert labels_of(dataset).classes.tolist() == [[0, 1]]
    with pytest.raises(ConfigError, match=r"picture_name must be made of id, file_name, got .*\{city\}"):
        CocoPanopticDataset(
            tmp_path, split="val", annotations="gtFine/cityscapes_panoptic_{split}.json",
            pictures="leftImg8bit/{split}", picture_name="{city}/{id}",
        )


def test_a_picture_of_no_segment_is_ignored_as_a_whole(coco: Path):
    annotate(coco, annotations=[{"image_id": 7, "file_name": "000007.png", "segments_info": []}])
    write(coco / "annotations/panoptic_val2017/000007.png", np.zeros((2, 4, 3), np.uint8))
    labels = labels_of(opened(coco))
    assert labels.classes.unique().tolist() == [255]
    assert len(labels.segments((0, 1))) == 0


def test_ids_that_are_not_listed_are_told_by_file(coco: Path):
    write(coco / "annotations/panoptic_val2017/000007.png", ids_to_rgb(IDS + 1))
    with pytest.raises(DataError, match=r"000007.png: pixels: expected ids of the 4 segments that .*json lists, got 1"):
        labels_of(opened(coco))


def test_masks_of_another_size_or_without_colours_are_told(coco: Path):
    write(coco / "annotations/panoptic_val2017/000007.png", ids_to_rgb(IDS.T))
    with pytest.raises(DataError, match="size: expected 4 x 2 pixels as the picture, got 2 x 4"):
        labels_of(opened(coco))
    write(coco / "annotations/panoptic_val2017/000007.png", IDS.astype(np.uint8))
    with pytest.raises(DataError, match=r"expected colours .* got mode L"):
        labels_of(opened(coco))


def test_files_that_are_absent_or_truncated_are_told(coco: Path):
    mask = coco / "annotations/panoptic_val2017/000007.png"
    mask.write_bytes(mask.read_bytes()[:50])
    with pytest.raises(DataError, match=r"000007.png: labels: expected a whole PNG image"):
        labels_of(opened(coco))
    mask.unlink()
    with pytest.raises(DataError, match=r"000007.png: labels: expected an image file, got no such file"):
        labels_of(opened(coco))
    write(coco / "val2017/000008.jpg", np.zeros((2, 4, 3), np.uint8))
    (coco / "val2017/000007.jpg").unlink()
    with pytest.raises(DataError, match=r"json: image 7: expected a picture below .*val2017, got no 000007.jpg"):
        opened(coco)
    with pytest.raises(DataError, match=r"panoptic_train2017.json: file: expected panoptic annotations in JSON"):
        CocoPanopticDataset(coco)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"annotations": []}, "image 7: expected an annotation, got none"),
        ({"images": []}, "images: expected at least one picture, got none"),
        ({"images": [{"id": 7}]}, "fields: expected categories, images .*, got none called 'file_name'"),
        ({"categories": [{"id": 1, "name": "a"}]}, "got none called 'isthing'"),
        ({"categories": CATEGORIES[:1]}, r"segments of 000007.png: expected categories among \[93\], got 1"),
        ({"categories": 3}, "fields: expected categories, images and annotations"),
        ({"annotations": [{"image_id": 7, "file_name": "a", "segments_info": 5}]}, "fields: expected categories"),
    ],
)
def test_a_file_that_lacks_something_is_told(coco: Path, changes: dict[str, Any], match: str):
    annotate(coco, **changes)
    with pytest.raises(DataError, match=match):
        opened(coco)


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_a_file_that_is_no_such_file_is_told(coco: Path, content: str):
    (coco / "annotations/panoptic_val2017.json").write_text(content)
    with pytest.raises(DataError, match=r"panoptic_val2017.json: file: expected"):
        opened(coco)


def test_names_must_be_as_many_as_the_categories(coco: Path):
    with pytest.raises(ConfigError, match=r"names must be those of the 3 categories of .*, got 2"):
        opened(coco, names=("a", "b"))
