"""Data sets of labelled pictures, on roots that the tests write: layouts, classes, instances, times and bad files."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from perception.datasets.camvid import COLORS, CamVidDataset
from perception.datasets.cityscapes import CityscapesDataset
from perception.datasets.cityscapes_panoptic import ids_to_rgb, panoptic_truth
from perception.datasets.loaders import list_datasets
from perception.datasets.picture_dataset import CAMERA, PictureDataset
from perception.datasets.picture_folder import PictureFolder
from perception.errors import ConfigError, DataError
from perception.structures import PixelLabels
from perception.structures.segmentation import IGNORE_LABEL

REGIONS = np.array([[7, 8, 26000, 26001], [0, 8, 26, 29000], [11, 4, 24003, 33]])       # of an instance file
CLASSES = [[0, 1, 13, 13], [255, 1, 13, 255], [2, 255, 11, 18]]
INSTANCES = [[0, 0, 2, 3], [0, 0, 0, 4], [0, 0, 1, 0]]
LOAD = ({"type": "LoadImages"},)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def colored(rows: Sequence[Sequence[str]]) -> np.ndarray:
    """(H, W, 3) uint8 of CamVid's names."""
    return np.array([[COLORS[name] for name in row] for row in rows], np.uint8)


def labels_of(dataset: PictureDataset, index: int = 0) -> PixelLabels:
    labels = dataset[index].cameras[CAMERA].labels
    assert labels is not None
    return labels


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    for token in ("aachen_000001_000019", "aachen_000000_000036", "bonn_000000_000019"):
        city = token.partition("_")[0]
        write(tmp_path / f"leftImg8bit/val/{city}/{token}_leftImg8bit.png", np.full((3, 4, 3), 90, np.uint8))
        stem = tmp_path / f"gtFine/val/{city}/{token}_gtFine"
        write(Path(f"{stem}_instanceIds.png"), REGIONS.astype(np.uint16))
        write(Path(f"{stem}_labelIds.png"), np.where(REGIONS >= 1000, REGIONS // 1000, REGIONS).astype(np.uint8))
        panoptic = tmp_path / f"gtFine/cityscapes_panoptic_val/{token}_gtFine_panoptic.png"
        write(panoptic, ids_to_rgb(panoptic_truth(REGIONS).ids))
    return tmp_path


def test_cityscapes_lists_drives_in_order_with_times(cityscapes: Path):
    dataset = CityscapesDataset(cityscapes, split="val")
    assert list(dataset.frame_tokens) == ["aachen_000000_000036", "aachen_000001_000019", "bonn_000000_000019"]
    assert list(dataset.scenes) == ["aachen_000000", "aachen_000001", "bonn_000000"]
    assert dataset[0].timestamp_ns == round(36e9 / 17)
    assert dataset.metainfo["things"][:3] == ("person", "rider", "car")


def test_cityscapes_reads_classes_and_instances(cityscapes: Path):
    labels = labels_of(CityscapesDataset(cityscapes, split="val"))
    assert labels.classes.tolist() == CLASSES
    assert labels.instances is not None
    assert labels.instances.tolist() == INSTANCES                     # groups have none, the caravan has one


def test_cityscapes_reads_classes_alone_or_what_the_panoptic_pictures_hold(cityscapes: Path):
    alone = labels_of(CityscapesDataset(cityscapes, split="val", labels="classes"))
    assert (alone.classes.tolist(), alone.instances) == (CLASSES, None)
    panoptic = labels_of(CityscapesDataset(cityscapes, split="val", labels="panoptic"))
    assert panoptic.classes.tolist() == CLASSES
    assert panoptic.instances is not None
    assert panoptic.instances.tolist() == [[0, 0, 2, 3], [0, 0, 0, 0], [0, 0, 1, 0]]   # the caravan is void there


def test_left_out_classes_are_ignored_and_the_others_counted_anew(cityscapes: Path):
    dataset = CityscapesDataset(cityscapes, split="val", labels="classes", classes=("car", "road"))
    assert labels_of(dataset).classes[0].tolist() == [1, 255, 0, 0]
    assert dataset.class_counts(0).tolist() == [3, 1]
    assert dataset.metainfo["things"] == ("car",)


def test_unlabelled_pictures_need_no_label_file(cityscapes: Path):
    dataset = CityscapesDataset(cityscapes, split="val", labels=None, transforms=LOAD)
    frame = dataset[0]
    assert frame.cameras[CAMERA].labels is None
    assert frame.cameras[CAMERA].image.shape == (3, 3, 4)
    assert dataset.class_counts(0).sum() == 0


def test_frames_pass_through_transforms_and_pickles(cityscapes: Path):
    resize = {"type": "ResizeImages", "size": (6, 8)}
    dataset = CityscapesDataset(cityscapes, split="val", transforms=[*LOAD, resize])
    camera = pickle.loads(pickle.dumps(dataset))[1].cameras[CAMERA]
    assert camera.image.shape == (3, 6, 8)
    assert camera.labels.classes[::2, ::2].tolist() == CLASSES


def test_camvid_reads_colours_and_drives(tmp_path: Path):
    for name in ("0001TP_006690", "Seq05VD_f00030"):
        write(tmp_path / f"val/{name}.png", np.zeros((2, 3, 3), np.uint8))
        rows = (("Road", "Bicyclist", "Tree"), ("Void", "LaneMkgsDriv", "Sky"))
        write(tmp_path / f"val_labels/{name}_L.png", colored(rows))
    dataset = CamVidDataset(tmp_path, split="val")
    assert labels_of(dataset).classes.tolist() == [[6, 0, 10], [255, 255, 9]]
    assert list(dataset.scenes) == ["0001TP", "Seq05VD"]
    assert [dataset[index].timestamp_ns for index in range(2)] == [223 * 10**9, 10**9]
    assert dataset.class_counts(0).sum() == 4


def test_camvid_reads_pictures_and_labels_of_one_folder(tmp_path: Path):
    write(tmp_path / "all/a_1.png", np.zeros((1, 2, 3), np.uint8))
    write(tmp_path / "all/a_1_L.png", colored([("Car", "Fence")]))
    dataset = CamVidDataset(tmp_path, pictures="all", labels="all")
    assert labels_of(dataset).classes.tolist() == [[2, 4]]
    with pytest.raises(ConfigError, match="label_ending must not be empty"):
        CamVidDataset(tmp_path, pictures="all", labels="all", label_ending="")


def test_camvid_joins_splits_one_after_the_other(tmp_path: Path):
    for split, name in (("train", "b_1"), ("val", "a_1")):
        write(tmp_path / f"{split}/{name}.png", np.zeros((1, 2, 3), np.uint8))
        write(tmp_path / f"{split}_labels/{name}_L.png", colored([("Car", "Sky" if split == "val" else "Tree")]))
    dataset = CamVidDataset(tmp_path, split=("train", "val"))
    assert list(dataset.frame_tokens) == ["b_1", "a_1"]
    assert [labels_of(dataset, index).classes.tolist() for index in range(2)] == [[[2, 10]], [[2, 9]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b", "town/a"):
        write(tmp_path / f"images/{name}.png", np.zeros((1, 3), np.uint8))
        write(tmp_path / f"masks/{name}.png", np.array([[0, 1, 255]], np.uint8))
        write(tmp_path / f"numbers/{name}.png", np.array([[0, 300, 0]], np.uint16))
    return tmp_path


def test_a_folder_of_pictures_with_masks_and_instances(folder: Path):
    dataset = PictureFolder(folder, ("road", "car"), instances="numbers", things=("car",), transforms=LOAD)
    assert list(dataset.frame_tokens) == ["b", "town/a"]
    labels = labels_of(dataset, 1)
    assert labels.classes.tolist() == [[0, 1, IGNORE_LABEL]]
    assert labels.instances is not None
    assert labels.instances.tolist() == [[0, 300, 0]]
    assert dataset[0].cameras[CAMERA].image.shape == (3, 1, 3)          # grey becomes RGB
    assert dataset.metainfo["things"] == ("car",)


def test_masks_may_be_colours_or_other_numbers(folder: Path):
    write(folder / "colours/b.png", np.array([[[9, 0, 0], [0, 9, 0], [1, 2, 3]]], np.uint8))
    write(folder / "colours/town/a.png", np.array([[[9, 0, 0], [0, 9, 0], [7, 7, 7]]], np.uint8))
    options = {"values": [(0, 9, 0), (9, 0, 0)], "ignored": [(1, 2, 3)]}
    dataset = PictureFolder(folder, ("road", "car"), masks="colours", **options)
    assert labels_of(dataset).classes.tolist() == [[1, 0, IGNORE_LABEL]]
    with pytest.raises(DataError, match=r"expected colours of the 3 known labels, got \(7, 7, 7\)"):
        dataset[1]
    other = PictureFolder(folder, ("car", "road"), values=(255, 0), ignored=(1,))
    assert labels_of(other).classes.tolist() == [[1, IGNORE_LABEL, 0]]


def test_masks_with_a_palette_are_numbers(folder: Path):
    picture = Image.fromarray(np.array([[0, 1, 1]], np.uint8)).convert("P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.save(folder / "masks/b.png")
    assert labels_of(PictureFolder(folder, ("road", "car"))).classes.tolist() == [[0, 1, 1]]


def test_pictures_without_masks(folder: Path):
    assert PictureFolder(folder, masks=None)[0].cameras[CAMERA].labels is None


def test_a_mask_of_ignored_pixels_alone_is_one(folder: Path):
    write(folder / "masks/b.png", np.full((1, 3), IGNORE_LABEL, np.uint8))
    dataset = PictureFolder(folder, ("road",))
    assert labels_of(dataset).classes.unique().tolist() == [IGNORE_LABEL]
    assert len(labels_of(dataset).segments()) == dataset.class_counts(0).sum() == 0


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        (np.array([[0, 1, 7]], np.uint8), r"masks/b.png: pixels: expected labels among 0, 1, 255, got 7"),
        (np.zeros((1, 3, 3), np.uint8), r"masks/b.png: pixels: expected one channel of numbers .*, got mode RGB"),
        (np.zeros((2, 3), np.uint8), r"masks/b.png: size: expected 3 x 1 pixels as the picture, got 3 x 2"),
    ],
)
def test_masks_that_do_not_fit_are_told_by_file(folder: Path, mask: np.ndarray, match: str):
    write(folder / "masks/b.png", mask)
    with pytest.raises(DataError, match=match):
        PictureFolder(folder, ("road", "car"))[0]


def test_files_that_are_absent_or_broken_are_told(folder: Path, cityscapes: Path):
    (folder / "masks/b.png").write_bytes((folder / "masks/b.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"masks/b.png: labels: expected a whole PNG image"):
        PictureFolder(folder, ("road", "car"))[0]
    (folder / "masks/b.png").unlink()
    with pytest.raises(DataError, match=r"masks/b.png: labels: expected an image file, got no such file"):
        PictureFolder(folder, ("road", "car"))[0]
    (folder / "images/b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"images/b.png: picture: expected a readable image"):
        PictureFolder(folder, ("road", "car"))[0]
    write(folder / "images/b.jpg", np.zeros((1, 3), np.uint8))
    with pytest.raises(DataError, match=r"picture b: expected one file, got b.jpg and b.png"):
        PictureFolder(folder, ("road", "car"))
    with pytest.raises(DataError, match=r"leftImg8bit/train: folder: expected pictures, got no such folder"):
        CityscapesDataset(cityscapes)
    write(cityscapes / "leftImg8bit/odd/x/x_leftImg8bit.png", np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(DataError, match=r"name: expected CITY_DRIVE_FRAME_leftImg8bit, got x_leftImg8bit.png"):
        CityscapesDataset(cityscapes, split="odd")
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: folder: expected pictures \* .*, got none"):
        PictureFolder(folder, masks=None, pictures="empty")


def test_instances_of_another_size_are_told(folder: Path):
    write(folder / "numbers/b.png", np.zeros((1, 4), np.uint16))
    with pytest.raises(DataError, match=r"numbers/b.png: size: expected 3 x 1 pixels as the mask"):
        PictureFolder(folder, ("road", "car"), instances="numbers")[0]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"classes": ()}, "classes must name the classes of the masks, got none"),
        ({"values": [0]}, "values must be those of the 2 classes, got 1"),
        ({"values": [3, 3]}, "values and ignored must be distinct, got 3 twice"),
        ({"values": [(1, 2), (3, 4)]}, r"colours must be \(R, G, B\), got \(1, 2\)"),
        ({"values": [(1, 2, 3), (3, 4, 5)], "ignored": [0]}, "all numbers or all colours, got both"),
        ({"things": ("bus",)}, 'things must be among the classes road, car, got "bus"'),
        ({"masks": None, "instances": "numbers"}, "instances need masks"),
    ],
)
def test_settings_that_make_no_sense_are_refused(folder: Path, options: dict[str, object], match: str):
    with pytest.raises(ConfigError, match=match):
        PictureFolder(folder, **{"classes": ("road", "car"), **options})      # type: ignore[arg-type]


def test_unknown_words_are_answered_with_the_nearest(cityscapes: Path):
    with pytest.raises(ConfigError, match=r'labels must be one of .*, got "instance" \(did you mean "instances"\?\)'):
        CityscapesDataset(cityscapes, labels="instance")
    with pytest.raises(ConfigError, match=r'unknown class "cars" \(did you mean "car"\?\)'):
        CityscapesDataset(cityscapes, split="val", classes=("cars",))


def test_the_data_sets_are_listed_by_name():
    assert {"CityscapesDataset", "CamVidDataset", "PictureFolder"} <= list_datasets().keys()


def test_labels_are_int64(folder: Path):
    assert labels_of(PictureFolder(folder, ("road", "car"))).classes.dtype == torch.int64
