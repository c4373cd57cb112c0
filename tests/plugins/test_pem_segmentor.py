"""PEM within the segmentation model: the published configs made small, one loss and one prediction."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pem_models import CONFIGS, halves

from perception.engine.config import load_config
from perception.models.segmentor import Segmentor
from perception.registry import MODELS
from perception.structures import Camera, Frame, PixelLabels

SIZE = (40, 56)                                      # padded to 64 x 64


def frame_of(token: str, num_classes: int, seed: int, labels: PixelLabels | None = None) -> Frame:
    """A picture of noise whose halves are of the first and of the last class; the last one is an instance."""
    truth = halves((0, num_classes - 1), SIZE)
    classes = (truth.labels[:, None, None] * truth.masks).sum(dim=0)
    image = torch.randint(0, 256, (3, *SIZE), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    labels = labels or PixelLabels(classes, truth.masks[1].long())
    return Frame(token, seed, cameras={"front": Camera(None, 0, image=image, labels=labels)})


def small_model(name: str) -> Segmentor:
    """The model of a config with few channels."""
    config: dict[str, Any] = load_config(CONFIGS / f"{name}.py").model
    config["backbone"]["base_channels"] = 8
    config["data_preprocessor"]["short_side"] = None
    config["head"]["pixel_decoder"].update(channels=8, mask_channels=8)
    config["head"]["decoder"].update(channels=16, num_queries=5, layers=2, heads=4, hidden=16)
    config["head"]["loss"].update(num_points=32)
    classes = [f"class{k}" for k in range(config["head"]["num_classes"])]
    return MODELS.build({**config, "classes": classes})


@pytest.mark.parametrize("name", [
    "pem_r50_cityscapes_panoptic", "pem_stdc1_cityscapes_semantic", "pem_stdc2_ade20k_semantic",
    "pem_r50_ade20k_panoptic",
])
def test_a_config_learns_from_a_batch_and_predicts_another(name):
    model = small_model(name)
    K = len(model.classes)
    frames = [frame_of("a", K, 0), frame_of("b", K, 1)]
    batch = model.data_preprocessor(frames, training=True)
    losses = model.train()(**batch, mode="loss")
    assert {key for key in losses if key.count("_") == 1} == {"loss_ce", "loss_mask", "loss_dice"}
    assert len(losses) == 3 * 3
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    (found,) = model.eval()(**model.data_preprocessor(frames[:1]), mode="predict")
    assert (found.token, found.timestamp_ns) == ("a", 0)
    assert found.classes.shape == SIZE
    assert 0 <= int(found.classes.min()) <= int(found.classes.max()) < K
    assert (found.panoptic is not None) == (found.instances is not None) == name.endswith("panoptic")


def test_pictures_of_which_nothing_is_known_teach_classes_alone():
    model = small_model("pem_r50_cityscapes_panoptic").train()
    unknown = PixelLabels(torch.full(SIZE, 255), torch.zeros(SIZE, dtype=torch.int64))
    frames = [frame_of("a", 19, 0, unknown), frame_of("b", 19, 1, unknown)]
    losses = model(**model.data_preprocessor(frames, training=True), mode="loss")
    assert losses["loss_mask"] == losses["loss_dice"] == 0.0
    assert losses["loss_ce"] > 0.0
