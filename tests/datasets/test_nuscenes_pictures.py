"""Pictures with a label a pixel: one frame each, classes of the points' challenge and the sky."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perception.datasets.nuscenes_index import build_nuscenes_index
from perception.datasets.nuscenes_pictures import PICTURE_CLASSES, NuScenesPictures, label_path
from perception.errors import ConfigError, DataError
from perception.structures.segmentation import IGNORE_LABEL

CODES = (0, 1_000, 17_004, 24_000)                    # sky, animal, a car, road
CLASSES = (PICTURE_CLASSES.index("sky"), IGNORE_LABEL, PICTURE_CLASSES.index("car"),
           PICTURE_CLASSES.index("driveable_surface"))


@pytest.fixture
def root(mini_nuscenes) -> Path:
    """The small root with labels of its pictures: four columns of `CODES` each."""
    written = mini_nuscenes.write()
    for picture in (written / "samples/CAM_FRONT").iterdir():
        with Image.open(picture) as image:
            columns, rows = image.size
        codes = np.repeat(np.repeat(np.array([CODES], np.uint16), columns // 4, axis=1), rows, axis=0)
        path = written / label_path(f"samples/CAM_FRONT/{picture.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(codes).save(path)
    build_nuscenes_index(written, "v1.0-mini", "mini_train")
    return written


def opened(root: Path, **options) -> NuScenesPictures:
    return NuScenesPictures(
        root, version="v1.0-mini", split="mini_train", cameras=["CAM_FRONT"],
        transforms=[{"type": "LoadImages"}], **options,
    )


def test_each_picture_is_a_frame_with_its_own_labels_and_calibration(root):
    pictures = opened(root)
    assert pictures.frame_tokens == [f"sample{place}/CAM_FRONT" for place in range(3)]
    for frame in (pictures[index] for index in range(3)):
        (camera,) = frame.cameras.values()
        assert camera.image.shape[1:] == camera.labels.classes.shape
        assert camera.timestamp_ns == frame.timestamp_ns
        assert camera.calibration.width == camera.image.shape[2]
        quarter = camera.image.shape[2] // 4
        assert camera.labels.classes[0, ::quarter].tolist() == list(CLASSES)
        assert camera.labels.instances[0, ::quarter].tolist() == [0, 0, 17_004, 0]
        assert frame.points is None


def test_unlabelled_pictures_read_no_label(root):
    (next((root / "image_panoptic/CAM_FRONT").iterdir())).unlink()
    assert all(camera.labels is None for camera in opened(root, labelled=False)[0].cameras.values())


def test_a_worker_opens_the_index_itself(root):
    copy = pickle.loads(pickle.dumps(opened(root)))
    assert len(copy) == 3
    assert copy[2].token == "sample2/CAM_FRONT"


def test_a_missing_label_file_is_named(root):
    for path in (root / "image_panoptic/CAM_FRONT").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"image_panoptic/CAM_FRONT/.*png: labels: .*no such file"):
        opened(root)[0]


def test_an_unknown_category_is_named(root):
    for path in (root / "image_panoptic/CAM_FRONT").iterdir():
        Image.fromarray(np.full((24, 32), 40_000, np.uint16)).save(path)
    with pytest.raises(DataError, match="categories: expected numbers from 0 to 31, got 40"):
        opened(root)[0]


def test_a_camera_that_the_index_lacks_is_named(root):
    pictures = NuScenesPictures(root, version="v1.0-mini", split="mini_train", cameras=["CAM_BACK"])
    with pytest.raises(DataError, match="cameras of frame sample0: expected CAM_BACK, got CAM_FRONT"):
        pictures[0]


def test_an_unknown_camera_is_refused_with_the_nearest_name(root):
    with pytest.raises(ConfigError, match=r'unknown camera "CAM_FRNT" \(did you mean "CAM_FRONT"\?\)'):
        NuScenesPictures(root, version="v1.0-mini", split="mini_train", cameras=["CAM_FRNT"])
