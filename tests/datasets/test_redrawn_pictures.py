"""Pictures with too little to learn from give way to others, by the same numbers whoever asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perception.datasets.picture_dataset import CAMERA
from perception.datasets.redrawn_pictures import RedrawnPictures
from perception.errors import DataError

MASKS = {                                                              # class 1 is the thing
    "empty": [[255] * 4] * 4, "stuff": [[0] * 4] * 4, "crowd": [[1] * 4] * 4,
    "thing": [[1] * 4] * 4, "little": [[0] + [255] * 3, *[[255] * 4] * 3],
}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, object]:
    for folder in ("images", "masks", "numbers"):
        (tmp_path / folder).mkdir()
    for name, mask in MASKS.items():
        classes = np.array(mask, np.uint8)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"images/{name}.png")
        Image.fromarray(classes).save(tmp_path / f"masks/{name}.png")
        Image.fromarray((classes == 1) * np.uint8(name == "thing")).save(tmp_path / f"numbers/{name}.png")
    return {"type": "PictureFolder", "root": tmp_path, "classes": ("road", "car"), "instances": "numbers",
            "things": ("car",), "transforms": [{"type": "LoadImages"}]}


def tokens(dataset: RedrawnPictures) -> set[str]:
    return {dataset[epoch, index].token for epoch in range(8) for index in range(len(dataset))}


def test_pictures_with_too_few_labelled_pixels_give_way(config):
    assert tokens(RedrawnPictures(config)) == {"stuff", "thing", "little"}
    assert tokens(RedrawnPictures(config, min_pixels=1)) == {"stuff", "thing"}
    assert tokens(RedrawnPictures(config, min_pixels=3, stride=2)) == {"stuff", "thing"}


def test_a_good_picture_is_what_the_data_set_gives(config):
    dataset = RedrawnPictures({**config, "seed": 5})
    index = list(dataset.frame_tokens).index("thing")
    own, inner = (each[3, index] for each in (dataset, dataset.inner))
    assert own.token == inner.token == "thing"
    assert own.cameras[CAMERA].image.equal(inner.cameras[CAMERA].image)


def test_the_same_key_draws_the_same_picture(config):
    dataset = RedrawnPictures(config)
    keys = [(epoch, 1) for epoch in range(8)]                          # "empty"
    drawn = [dataset[key].token for key in keys]
    assert drawn == [RedrawnPictures(config)[key].token for key in keys]
    assert len(set(drawn)) > 1


def test_it_says_of_itself_what_the_data_set_says(config):
    dataset = RedrawnPictures(config)
    assert dataset.metainfo == dataset.inner.metainfo
    assert dataset.classes == ("road", "car")
    assert len(dataset) == len(dataset.scenes) == 5
    assert dataset.class_counts(list(dataset.frame_tokens).index("stuff")).tolist() == [16, 0]
    with pytest.raises(IndexError, match="frame 5 of a data set of 5 frames"):
        dataset[5]


def test_a_data_set_without_a_good_picture_is_told(config):
    with pytest.raises(DataError, match="labels: expected a picture with more than 16 labelled pixels, got none among"):
        RedrawnPictures(config, min_pixels=16)[0]
