"""Waymo's camera labels, on folders that the tests write and on real ones, in the classes of other data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from perception.datasets.cityscapes import CityscapesDataset
from perception.datasets.class_partners import CLASS_LISTS, PARTNERS, translated
from perception.datasets.picture_dataset import CAMERA
from perception.datasets.waymo_pictures import NAMES, WaymoPictures
from perception.errors import ConfigError, DataError
from perception.structures import PixelLabels
from perception.structures.segmentation import IGNORE_LABEL

CODES = [[0, 2_001, 10_003, 20_000], [14_000, 9_002, 28_000, 5_004]]   # a car, a cyclist, road; a cone, a pedestrian
CAMERAS = {1: "FRONT", 2: "FRONT_LEFT", 3: "FRONT_RIGHT", 4: "SIDE_LEFT", 5: "SIDE_RIGHT"}


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("drive-b/FRONT", "drive-a/FRONT"):
        write(tmp_path / f"{name}.jpg", np.zeros((2, 4, 3), np.uint8))
        write(tmp_path / f"{name}_panoptic.png", np.array(CODES, np.uint16))
    return tmp_path


def labels_of(dataset: WaymoPictures | CityscapesDataset) -> PixelLabels:
    labels = dataset[0].cameras[CAMERA].labels
    assert labels is not None
    return labels


def named(labels: PixelLabels, classes: tuple[str, ...]) -> list[list[str]]:
    return [["" if label == IGNORE_LABEL else classes[label] for label in row] for row in labels.classes.tolist()]


@pytest.mark.parametrize(
    ("classes_of", "expected", "instances"),
    [
        ("waymo", [["", "car", "cyclist", "road"], ["cone_or_pole", "pedestrian", "static", "other_large_vehicle"]],
         [[0, 2_001, 10_003, 0], [0, 9_002, 0, 5_004]]),
        ("nuscenes", [["", "car", "bicycle", "driveable_surface"], ["traffic_cone", "pedestrian", "", ""]],
         [[0, 2_001, 10_003, 0], [0, 9_002, 0, 0]]),
        ("cityscapes", [["", "car", "", "road"], ["", "person", "", ""]], [[0, 2_001, 0, 0], [0, 9_002, 0, 0]]),
    ],
)
def test_labels_are_told_in_the_classes_of_a_list(
    folder: Path, classes_of: str, expected: list[list[str]], instances: list[list[int]]
):
    dataset = WaymoPictures(folder, classes_of=classes_of)
    labels = labels_of(dataset)
    assert dataset.classes == CLASS_LISTS[classes_of].classes
    assert dataset.metainfo["things"] == CLASS_LISTS[classes_of].things
    assert named(labels, dataset.classes) == expected
    assert labels.instances is not None
    assert labels.instances.tolist() == instances


def test_pictures_come_by_path_with_their_folder_as_scene(folder: Path):
    dataset = WaymoPictures(folder)
    assert list(dataset.frame_tokens) == ["drive-a/FRONT", "drive-b/FRONT"]
    assert list(dataset.scenes) == ["drive-a", "drive-b"]


def test_some_classes_are_enough(folder: Path):
    dataset = WaymoPictures(folder, classes_of="nuscenes", classes=("bicycle", "driveable_surface"))
    labels = labels_of(dataset)
    assert named(labels, dataset.classes) == [["", "", "bicycle", "driveable_surface"], ["", "", "", ""]]
    assert labels.instances is not None
    assert labels.instances.tolist() == [[0, 0, 10_003, 0], [0, 0, 0, 0]]
    assert dataset.class_counts(0).tolist() == [1, 1]


def test_another_divisor_tells_classes_and_instances_apart(folder: Path):
    write(folder / "drive-a/FRONT_panoptic.png", np.array([[512, 517, 5_120, 0]] * 2, np.uint16))
    labels = labels_of(WaymoPictures(folder, divisor=256))
    assert named(labels, CLASS_LISTS["waymo"].classes)[0] == ["car", "car", "road", ""]
    assert labels.instances is not None
    assert labels.instances[0].tolist() == [0, 517, 0, 0]


def test_unlabelled_pictures_read_no_label(folder: Path):
    for path in folder.rglob("*_panoptic.png"):
        path.unlink()
    assert WaymoPictures(folder, labelled=False)[0].cameras[CAMERA].labels is None
    with pytest.raises(DataError, match=r"drive-a/FRONT_panoptic.png: labels: expected an image file"):
        WaymoPictures(folder)[0]


def test_an_unknown_class_is_told_by_file(folder: Path):
    write(folder / "drive-a/FRONT_panoptic.png", np.full((2, 4), 29_000, np.uint16))
    with pytest.raises(DataError, match=r"FRONT_panoptic.png: pixels: expected labels among 0, 1, .*, 28, got 29"):
        WaymoPictures(folder)[0]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"divisor": 0}, "divisor must be >= 1, got 0"),
        ({"classes_of": "nuscene"}, r'unknown list of classes "nuscene" \(did you mean "nuscenes"\?\)'),
        ({"classes": ["cars"]}, r'unknown class "cars" \(did you mean "car"\?\)'),
    ],
)
def test_settings_that_make_no_sense_are_refused(folder: Path, options: dict[str, Any], match: str):
    with pytest.raises(ConfigError, match=match):
        WaymoPictures(folder, **options)


@pytest.mark.parametrize("pair", PARTNERS, ids="-".join)
def test_partners_are_classes_of_their_lists(pair: tuple[str, str]):
    own, other = (CLASS_LISTS[name] for name in pair)
    assert PARTNERS[pair].keys() <= set(own.classes)
    assert set(PARTNERS[pair].values()) <= set(other.classes)


@pytest.mark.parametrize("pair", PARTNERS, ids="-".join)
def test_things_stand_for_things_and_stuff_for_stuff_but_for_what_one_list_cannot_tell_apart(pair: tuple[str, str]):
    own, other = (CLASS_LISTS[name] for name in pair)
    mixed = {name for name, there in PARTNERS[pair].items() if (name in own.things) != (there in other.things)}
    assert mixed <= {"cone_or_pole"}                          # Waymo does not number cones, nuScenes does


def test_lists_without_a_table_are_told():
    with pytest.raises(ConfigError, match='"nuscenes" have no partners in the list "waymo", only in: none'):
        translated({0: "car"}, "nuscenes", "waymo")


def test_cityscapes_labels_are_told_in_the_classes_of_nuscenes(tmp_path: Path):
    write(tmp_path / "leftImg8bit/val/bonn/bonn_000000_000019_leftImg8bit.png", np.zeros((1, 4, 3), np.uint8))
    codes = np.array([[7, 12, 25_000, 26_001]], np.uint16)                            # road, wall, a rider, a car
    write(tmp_path / "gtFine/val/bonn/bonn_000000_000019_gtFine_instanceIds.png", codes)
    dataset = CityscapesDataset(tmp_path, split="val", classes_of="nuscenes")
    assert named(labels_of(dataset), dataset.classes) == [["driveable_surface", "manmade", "", "car"]]
    assert dataset.metainfo["things"] == CLASS_LISTS["nuscenes"].things


def test_real_labels_have_the_pixels_that_the_vendors_reader_counts(shared_data: Path, golden: Callable[[str], Path]):
    pictures = shared_data / "waymo/camera_segmentation"
    expected_file = golden("data_formats") / "waymo_pvps_frame_expected.json"
    if not (pictures.is_dir() and expected_file.is_file()):
        pytest.skip(f"no {pictures} or no {expected_file}")
    dataset = WaymoPictures(pictures)
    for image in json.loads(expected_file.read_text())["images"]:
        expected = {int(number): count for number, count in image["semantic_pixel_counts"].items() if number != "0"}
        counts = dataset.class_counts(dataset.index_of(CAMERAS[image["name"]]))
        numbers = {name: number for number, name in NAMES.items()}
        found = {numbers[name]: count for name, count in zip(dataset.classes, counts.tolist(), strict=True) if count}
        assert found == expected
