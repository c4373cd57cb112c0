"""Rare class sampling and pairs of frames: what is drawn, how often, and from what it is drawn again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.datasets.base import FrameDataset
from perception.datasets.pixel_counts import counts_of, pixel_counts
from perception.errors import ConfigError, DataError
from perception.registry import DATASETS, TRANSFORMS
from perception.structures import Camera, Frame, PixelLabels
from perception_plugins.daformer.pairs import SourceTargetPairs
from perception_plugins.daformer.rare_classes import RareClasses, class_probabilities

COUNTS = np.array([[90, 10, 0], [100, 0, 0], [60, 0, 40], [100, 0, 0]])


def labelled(token: str, classes: torch.Tensor) -> Frame:
    image = torch.zeros(3, *classes.shape, dtype=torch.uint8)
    return Frame(token, 0, cameras={"front": Camera(None, 0, image=image, labels=PixelLabels(classes))})


@DATASETS.register_module(force=True)
class StripedFrames(FrameDataset):
    """Pictures of 10 x 10 pixels whose last columns show class 1 or 2: none, one or three of them."""

    METAINFO = {"classes": ("road", "person", "bicycle")}
    STRIPES = ((1, 1), (0, 0), (3, 2), (0, 0))       # columns and class

    @property
    def frame_tokens(self):
        return [f"striped-{number}" for number in range(len(self.STRIPES))]

    def load(self, index: int) -> Frame:
        columns, label = self.STRIPES[index]
        classes = torch.zeros(10, 10, dtype=torch.int64)
        classes[:, 10 - columns :] = label
        return labelled(self.frame_tokens[index], classes)


@TRANSFORMS.register_module(force=True)
class HalfPicture:
    """Keeps five columns, the left ones or the right ones."""

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        first = 5 * int(rng.integers(2))
        camera = frame.cameras["front"]
        labels = camera.labels.changed(lambda plane: plane[:, first : first + 5])
        kept = replace(camera, image=camera.image[..., first : first + 5], labels=labels)
        return replace(frame, cameras={"front": kept})


def pairs(root, **options) -> SourceTargetPairs:
    source = {"type": "StripedFrames", "root": root, "transforms": [{"type": "HalfPicture"}]}
    return SourceTargetPairs(source, {"type": "StripedFrames", "root": root}, **options)


def test_the_rarest_class_is_drawn_most():
    classes, probabilities = class_probabilities(COUNTS, 0.1)
    assert classes.tolist() == [1, 2, 0]
    frequencies = np.array([10, 40, 350]) / 400
    weights = np.exp((1 - frequencies) / 0.1)
    np.testing.assert_allclose(probabilities, weights / weights.sum(), rtol=1e-5)      # float32


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=4, max_size=4), min_size=1, max_size=6), st.floats(0.01, 10))
def test_probabilities_fall_with_frequency_and_sum_to_one(rows, temperature):
    counts = np.array(rows, dtype=np.int64)
    counts[0, 0] += 1                                # some pixel there must be
    classes, probabilities = class_probabilities(counts, temperature)
    assert sorted(classes) == [0, 1, 2, 3]
    assert (np.diff(probabilities) <= 1e-6).all()
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_pictures_are_drawn_by_the_classes_they_show_enough_of():
    rare = RareClasses(COUNTS, temperature=1.0, min_pixels=20)
    drawn = {rare.draw(np.random.default_rng(seed)) for seed in range(60)}
    assert drawn == {(2, 2), (0, 0), (0, 1), (0, 2), (0, 3)}        # class 1 never has more than 10 pixels


def test_a_class_without_a_picture_is_left_out_with_a_warning(caplog):
    rare = RareClasses(COUNTS, min_pixels=20)
    assert sorted(rare.classes) == [0, 2]
    assert rare.probabilities.sum() == pytest.approx(1)
    assert "classes [1] have no picture with more than 20 pixels" in caplog.text


def test_no_class_at_all_is_refused():
    with pytest.raises(ConfigError, match="no picture shows more than 200 pixels"):
        RareClasses(COUNTS, min_pixels=200)
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        class_probabilities(COUNTS, 0)


def test_pixels_are_counted_without_those_to_ignore():
    frame = labelled("a", torch.tensor([[0, 2, 2, 255]]))
    assert pixel_counts(frame, None, 3).tolist() == [1, 0, 2]
    with pytest.raises(DataError, match="classes 0 to 1"):
        pixel_counts(frame, None, 2)
    with pytest.raises(ConfigError, match="need the pixel labels of one camera"):
        pixel_counts(Frame("a", 0), None, 3)


def test_counts_are_kept_in_a_file(tmp_path):
    dataset = StripedFrames(tmp_path)
    path = tmp_path / "counts.json"
    counted = counts_of(dataset, 3, None, path)
    assert counted.tolist() == [[90, 10, 0], [100, 0, 0], [70, 0, 30], [100, 0, 0]]
    table = json.loads(path.read_text(encoding="utf-8"))
    table["striped-1"] = [7, 7, 7]
    path.write_text(json.dumps(table), encoding="utf-8")
    assert counts_of(dataset, 3, None, path)[1].tolist() == [7, 7, 7]


@pytest.mark.parametrize("content", ["{", "{}", '{"striped-0": 1}', "[1]"])
def test_counts_of_another_data_set_are_refused(tmp_path, content):
    path = tmp_path / "counts.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"counts\.json"):
        counts_of(StripedFrames(tmp_path), 3, None, path)


def test_a_pair_is_the_same_for_the_same_key_and_another_in_the_next_epoch(tmp_path):
    dataset = pairs(tmp_path)
    keys = [(epoch, index) for epoch in range(6) for index in range(len(dataset))]
    tokens = [(dataset[key].source.token, dataset[key].target.token) for key in keys]
    assert tokens == [(dataset[key].source.token, dataset[key].target.token) for key in keys]
    assert [source for source, _ in tokens] == [f"striped-{index}" for _, index in keys]
    assert {target for _, target in tokens} == set(dataset.target.frame_tokens)


def test_a_rare_source_is_cropped_anew_until_the_class_is_in_it(tmp_path):
    rare = {"temperature": 0.01, "min_pixels": 5}
    drawn = [pairs(tmp_path, rare_classes=rare, seed=seed)[0].source for seed in range(12)]
    assert all((frame.cameras["front"].labels.classes > 0).any() for frame in drawn)


def test_at_last_a_crop_is_taken_as_it_is(tmp_path):
    rare = {"temperature": 0.01, "min_pixels": 5}
    drawn = [pairs(tmp_path, rare_classes=rare, checks=0, seed=seed)[0].source for seed in range(12)]
    assert {bool((frame.cameras["front"].labels.classes > 0).any()) for frame in drawn} == {True, False}


def test_a_pair_that_is_none_is_refused(tmp_path):
    with pytest.raises(IndexError, match="pair 4 of 4"):
        pairs(tmp_path)[4]
