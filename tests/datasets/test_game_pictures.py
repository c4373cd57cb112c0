"""Pictures of games with Cityscapes' classes: GTA5's palettes and SYNTHIA's channels of 16 bits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from perception.datasets.cityscapes_labels import CLASSES
from perception.datasets.gta import IDS, GTADataset
from perception.datasets.picture_dataset import CAMERA, PictureDataset
from perception.datasets.synthia import ID_OF_CLASS, SynthiaDataset
from perception.errors import DataError


def write_gta(root: Path, labels: np.ndarray, size: tuple[int, int]) -> None:
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(root / "images/00001.png")
    picture = Image.fromarray(labels.astype(np.uint8)).convert("P")
    picture.putpalette(np.arange(35 * 3).astype(np.uint8).tobytes())
    picture.save(root / "labels/00001.png")


def write_synthia(root: Path, labels: np.ndarray) -> Path:
    for folder in ("RGB", "GT/LABELS"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*labels.shape, 3), np.uint8)).save(root / "RGB/0000000.png")
    channels = np.stack([labels, np.full_like(labels, 700), np.zeros_like(labels)], axis=2).astype(np.uint16)
    path = root / "GT/LABELS/0000000.png"
    cv2.imwrite(str(path), channels[..., ::-1])                       # blue comes first there
    return path


def classes_of(dataset: PictureDataset) -> list[list[int]]:
    labels = dataset[0].cameras[CAMERA].labels
    assert labels is not None
    assert labels.instances is None
    return labels.classes.tolist()


def test_gta_reads_the_numbers_behind_the_palette(tmp_path: Path):
    write_gta(tmp_path, np.array([[7, 33, 0, 34], [8, 26, 14, 23]]), (2, 4))
    dataset = GTADataset(tmp_path)
    assert dataset.classes == CLASSES
    assert classes_of(dataset) == [[0, 18, 255, 255], [1, 13, 255, 10]]


def test_gta_labels_of_another_size_are_brought_to_that_of_the_picture(tmp_path: Path):
    write_gta(tmp_path, np.array([[7, 33]]), (2, 4))
    assert classes_of(GTADataset(tmp_path)) == [[0, 0, 18, 18]] * 2


def test_gta_tells_of_unknown_numbers(tmp_path: Path):
    write_gta(tmp_path, np.array([[7, 40]]), (1, 2))
    with pytest.raises(DataError, match=r"labels/00001.png: pixels: expected labels among 0, 1, .* got 40"):
        classes_of(GTADataset(tmp_path))


def test_synthia_reads_the_first_channel_of_sixteen_bits(tmp_path: Path):
    write_synthia(tmp_path, np.array([[3, 8, 0], [21, 22, 16]]))
    assert classes_of(SynthiaDataset(tmp_path)) == [[0, 13, 255], [3, 255, 9]]


def test_synthia_tells_of_unknown_numbers_and_broken_files(tmp_path: Path):
    path = write_synthia(tmp_path, np.array([[3, 23]]))
    with pytest.raises(DataError, match=r"GT/LABELS/0000000.png: pixels: expected labels among .* got 23"):
        classes_of(SynthiaDataset(tmp_path))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"0000000.png: labels: expected a whole PNG image, got a truncated"):
        classes_of(SynthiaDataset(tmp_path))
    path.unlink()
    with pytest.raises(DataError, match=r"0000000.png: labels: expected an image file, got no such file"):
        classes_of(SynthiaDataset(tmp_path))


@pytest.mark.parametrize("kind", [GTADataset, SynthiaDataset])
def test_pictures_of_games_may_be_unlabelled(kind: type[PictureDataset], tmp_path: Path):
    write_gta(tmp_path, np.array([[7]]), (1, 1))
    dataset = kind(tmp_path, pictures="images", masks=None)
    assert dataset[0].cameras[CAMERA].labels is None


def test_the_classes_have_the_published_numbers():
    """By training number, as DAFormer's conversions have them."""
    assert IDS == (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    numbers = [ID_OF_CLASS[name] for name in CLASSES]
    assert numbers == [3, 4, 2, 21, 5, 7, 15, 9, 6, 16, 1, 10, 17, 8, 18, 19, 20, 12, 11]
