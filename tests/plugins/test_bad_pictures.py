"""What each family of segmentors makes of pictures and labels that are out of the ordinary, or wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_segmentors import CLASSES, FAMILIES, MASK_FAMILIES, segmentor_config, small_segmentor
from torch import Tensor

from perception.datasets.picture_folder import PictureFolder
from perception.engine.checkpoint import load_weights, save_checkpoint
from perception.errors import CheckpointError, ConfigError, DataError
from perception.registry import MODELS
from perception.structures import Camera, Frame, PixelLabels
from perception.structures.segmentation import IGNORE_LABEL
from perception_plugins.daformer.pairs import SourceTargetPair

LOAD = ({"type": "LoadImages"},)


def frame_of(classes: Tensor, instances: Tensor | None = None, token: str = "a") -> Frame:
    """A picture of noise with these labels."""
    draw = torch.Generator().manual_seed(len(token))
    image = torch.randint(0, 256, (3, *classes.shape), generator=draw, dtype=torch.uint8)
    labels = PixelLabels(classes, torch.zeros_like(classes) if instances is None else instances)
    return Frame(token, 0, cameras={"image": Camera(None, 0, image=image, labels=labels)})


def filled(label: int, size: tuple[int, int] = (64, 64)) -> Tensor:
    return torch.full(size, label, dtype=torch.int64)


def losses_of(model: Any, frames: list[Any]) -> dict[str, Tensor]:
    losses = model.train()(**model.data_preprocessor(frames, True), mode="loss")
    return {name: value for name, value in losses.items() if "loss" in name}


def predictions_of(model: Any, frames: list[Frame]) -> list[Any]:
    with torch.no_grad():
        return model.eval()(**model.data_preprocessor(frames), mode="predict")


def assert_gradients_are_finite(model: Any, losses: dict[str, Tensor]) -> None:
    sum(losses.values()).backward()
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert grads
    assert all(torch.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize("size", [(1, 1), (3, 20)])
@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_smaller_than_a_stride_are_segmented_and_learnt_from_or_refused(family, size):
    model = small_segmentor(family)
    frames = [frame_of(filled(1, size), token=token) for token in ("a", "bb")]
    if family == "daformer":
        with pytest.raises(ValueError, match=rf"at least 29 x 29 pixels, got {size[0]} x {size[1]}"):
            predictions_of(model, frames)
        return
    assert [found.classes.shape for found in predictions_of(model, frames)] == [size] * 2
    losses = losses_of(model, frames)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert_gradients_are_finite(model, losses)


@pytest.mark.parametrize("family", FAMILIES)
def test_grey_transparent_and_deep_pictures_are_segmented_as_their_colours(family, tmp_path: Path):
    (tmp_path / "images").mkdir()
    grey = np.random.default_rng(0).integers(0, 256, (40, 56), dtype=np.uint8)
    for name, mode in (("a_grey", "L"), ("b_alpha", "RGBA"), ("c_grey_alpha", "LA"), ("d_colour", "RGB")):
        Image.fromarray(grey).convert(mode).save(tmp_path / f"images/{name}.png")
    Image.fromarray(grey.astype(np.uint16) << 8).save(tmp_path / "images/e_deep.png")
    dataset = PictureFolder(tmp_path, masks=None, transforms=LOAD)
    model, frames = small_segmentor(family), [dataset[index] for index in range(5)]
    images = model.data_preprocessor(frames)["inputs"]["images"]
    assert all(torch.equal(image, images[3]) for image in images)
    assert [found.classes.shape for found in predictions_of(model, frames)] == [(40, 56)] * 5


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_of_no_class_are_told(family):
    frames = [frame_of(filled(1)), frame_of(filled(len(CLASSES)), token="bb")]
    with pytest.raises(ConfigError, match="frame bb: class 5 is none of the 5 classes of the model"):
        losses_of(small_segmentor(family), frames)


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_with_other_numbers_or_sizes_and_missing_or_broken_files_never_reach_a_model(family, tmp_path: Path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b", "c", "d"):
        Image.fromarray(np.zeros((40, 56, 3), np.uint8)).save(tmp_path / f"images/{name}.jpg")
        Image.fromarray(np.ones((40, 56), np.uint8)).save(tmp_path / f"masks/{name}.png")
    Image.fromarray(np.full((40, 56), 77, np.uint8)).save(tmp_path / "masks/a.png")
    Image.fromarray(np.ones((40, 57), np.uint8)).save(tmp_path / "masks/b.png")
    (tmp_path / "masks/c.png").unlink()
    picture = tmp_path / "images/d.jpg"
    picture.write_bytes(picture.read_bytes()[:-30])
    dataset = PictureFolder(tmp_path, CLASSES, transforms=LOAD)
    model = small_segmentor(family)
    for index, message in enumerate((
        r"masks/a.png: pixels: expected labels among 0, 1, 2, 3, 4, 255, got 77",
        r"masks/b.png: size: expected 56 x 40 pixels as the picture, got 57 x 40",
        r"masks/c.png: labels: expected an image file, got no such file",
        r"images/d.jpg: picture: expected a whole JPEG or PNG image",
    )):
        with pytest.raises(DataError, match=message):
            losses_of(model, [dataset[index]])


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_of_another_size_than_the_picture_are_told(family):
    frame = frame_of(filled(1))
    camera = replace(frame.cameras["image"], labels=PixelLabels(filled(1, (64, 63))))
    with pytest.raises(ValueError, match=r"frame a: labels are \(64, 63\), the picture is \(64, 64\)"):
        losses_of(small_segmentor(family), [replace(frame, cameras={"image": camera}), frame])


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_of_which_nothing_is_known_teach_nothing_of_pixels(family):
    """Clusters and queries do learn that they stand for nothing, as published."""
    model = small_segmentor(family)
    losses = losses_of(model, [frame_of(filled(IGNORE_LABEL)), frame_of(filled(IGNORE_LABEL), token="bb")])
    of_classes = {name for name in losses if family in MASK_FAMILIES and name.startswith("loss_ce")}
    assert all(loss == 0 for name, loss in losses.items() if name not in of_classes), losses
    assert all(0 < losses[name] < np.inf for name in of_classes)
    assert_gradients_are_finite(model, losses)


def test_self_training_learns_nothing_from_a_source_of_which_nothing_is_known():
    student = segmentor_config("daformer")
    model = MODELS.build({"type": "SelfTraining", "student": student, "feature_distance": {"things": (3, 4)}})
    unknown, target = frame_of(filled(IGNORE_LABEL)), frame_of(filled(1), token="bb")
    losses = losses_of(model, [SourceTargetPair(unknown, target)] * 2)
    assert set(losses) == {"decode.loss_seg", "src.loss_imnet_feat_dist", "mix.decode.loss_seg"}
    assert all(loss == 0 for loss in losses.values()), losses          # what is pasted is what is unknown
    assert_gradients_are_finite(model, losses)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_picture_beside_a_known_one_leaves_finite_losses(family):
    model = small_segmentor(family)
    losses = losses_of(model, [frame_of(filled(IGNORE_LABEL)), frame_of(filled(1), token="bb")])
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert_gradients_are_finite(model, losses)


@pytest.mark.parametrize("label", [1, 3], ids=["stuff", "crowd"])
@pytest.mark.parametrize("family", MASK_FAMILIES)
def test_pictures_without_an_instance_are_learnt_from_and_predicted(family, label):
    model = small_segmentor(family)
    frames = [frame_of(filled(label)), frame_of(filled(label), token="bb")]
    losses = losses_of(model, frames)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert (losses["loss_dice"] > 0) == (label == 1)                   # a thing without a number is no segment
    assert_gradients_are_finite(model, losses)
    for found in predictions_of(model, frames):
        assert 0 <= int(found.panoptic.ids.max()) <= len(found.panoptic)
        assert set(found.instances.labels.tolist()) <= {3, 4}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_of_other_classes_is_refused_with_both_lists(family, tmp_path: Path):
    state = small_segmentor(family).state_dict()
    save_checkpoint({"state_dict": state, "meta": {"classes": [*CLASSES[:4], "bus"]}}, tmp_path / "other.pth")
    model = small_segmentor(family)
    before = [parameter.clone() for parameter in model.parameters()]
    expected = (
        r"other\.pth: made for 5 classes \(road, sky, tree, car, \.\.\. \(1 more\)\), the model has 5 \(road, .*\); "
        r"only in the checkpoint: bus; only in the model: person"
    )
    with pytest.raises(CheckpointError, match=expected):
        load_weights(model, tmp_path / "other.pth")
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_of_more_classes_is_refused_by_its_sizes_if_it_does_not_name_them(family):
    things = {"things": ()} if family in MASK_FAMILIES else {}
    head = {key: value for key, value in segmentor_config(family)["head"].items() if key != "things"}
    larger = small_segmentor(family, classes=[f"class {k}" for k in range(9)], head=head, **things)
    with pytest.raises(CheckpointError, match=r"misshaped: head\.[\w.]+ \([\d, ]+\) instead of \([\d, ]+\)"):
        load_weights(small_segmentor(family), {"state_dict": larger.state_dict()})
