"""Data sets of pictures in the layouts that are published, of a few small pictures each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from PIL import Image

from perception.datasets.camvid import COLORS
from perception.datasets.cityscapes_panoptic import ids_to_rgb

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIZE = (96, 192)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture(number: int) -> np.ndarray:
    """(H, W, 3) uint8 noise."""
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def quarters(values: Sequence[int], dtype: type = np.uint8) -> np.ndarray:
    """(H, W) numbers of the upper left, upper right, lower left and lower right quarter of a picture."""
    height, width = SIZE[0] // 2, SIZE[1] // 2
    return np.array(values, dtype).reshape(2, 2).repeat(height, 0).repeat(width, 1)


def write_cityscapes(root: Path) -> None:
    """Road, sky, two cars a picture; two pictures a split."""
    for split in ("train", "val"):
        for number in range(2):
            token = f"aachen_00000{number}_000019"
            write(root / f"leftImg8bit/{split}/aachen/{token}_leftImg8bit.png", picture(number))
            stem = root / f"gtFine/{split}/aachen/{token}_gtFine"
            write(Path(f"{stem}_labelIds.png"), quarters((23, 7, 26, 26)))
            write(Path(f"{stem}_instanceIds.png"), quarters((23, 7, 26000, 26001), np.uint16))


def write_camvid(root: Path) -> None:
    """Sky, void, road and a car; two pictures a split."""
    colors = np.array([COLORS[name] for name in ("Sky", "Void", "Road", "Car")], np.uint8)
    for split in ("train", "val", "test"):
        for number in range(2):
            write(root / f"{split}/0001TP_{number:06}.png", picture(number))
            write(root / f"{split}_labels/0001TP_{number:06}_L.png", colors[quarters((0, 1, 2, 3))])


def write_coco(
    root: Path, things: Sequence[int], stuff: Sequence[int], split: str, pictures: str, annotations: str
) -> None:
    """The first two sorts of stuff and the first two things in each of two pictures.

    Args:
        root: folder of the data set.
        things: ids of categories.
        stuff: likewise.
        split: replaces ``{split}`` in the others.
        pictures: folder of the pictures.
        annotations: the JSON file.
    """
    categories = [{"id": i, "name": f"category {i}", "isthing": int(i in things)} for i in (*things, *stuff)]
    segments = [
        {"id": 1000 + place, "category_id": category, "iscrowd": 0}
        for place, category in enumerate((*stuff[:2], *things[:2]))
    ]
    path = root / annotations.format(split=split)
    images, rows = [], []
    for number in range(2):
        write(root / pictures.format(split=split) / f"{number:06}.jpg", picture(number))
        write(path.with_suffix("") / f"{number:06}.png", ids_to_rgb(quarters(range(1000, 1004), np.int64)))
        images.append({"id": number, "file_name": f"{number:06}.jpg"})
        rows.append({"image_id": number, "file_name": f"{number:06}.png", "segments_info": segments})
    path.write_text(json.dumps({"categories": categories, "images": images, "annotations": rows}))


def write_coco_panoptic(root: Path) -> None:
    """Of 133 categories, which have gaps in their ids; those of stuff are others than COCO's."""
    things = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
    for split in ("train2017", "val2017"):
        write_coco(root, things, range(92, 145), split, "{split}", "annotations/panoptic_{split}.json")


def write_ade20k(root: Path) -> None:
    """Masks of 0 to 150, and the same converted to COCO's form."""
    stuff = Config.fromfile(CONFIGS / "_base_/datasets/ade20k_panoptic.py").stuff
    things = [label for label in range(150) if label not in stuff]
    for split, folder in (("train", "training"), ("val", "validation")):
        write_coco(root, things, stuff, split, f"images/{folder}", "ade20k_panoptic_{split}.json")
        for number in range(2):
            write(root / f"annotations/{folder}/{number:06}.png", quarters((0, 1, 13, 150)))


def write_gta(root: Path) -> None:
    """Sky, road, rider and licence plate, behind a palette."""
    for number in range(3):
        write(root / f"images/{number:05}.png", picture(number))
        mask = Image.fromarray(quarters((23, 7, 25, 34))).convert("P")
        (root / "labels").mkdir(exist_ok=True)
        mask.save(root / f"labels/{number:05}.png")


def write_synthia(root: Path) -> None:
    """Sky, road, rider and void in the first of three channels of 16 bits."""
    for number in range(3):
        write(root / f"RGB/{number:07}.png", picture(number))
        classes = quarters((1, 3, 17, 0), np.uint16)
        (root / "GT/LABELS").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / f"GT/LABELS/{number:07}.png"), np.stack([classes * 0, classes * 7, classes], axis=2))
