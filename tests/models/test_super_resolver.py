"""The task model of super-resolution: pairs, losses, predictions, tiles, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perception.engine.build import build_model
from perception.errors import ConfigError
from perception.models.super_resolver import SuperResolver
from perception.registry import MODELS
from perception.structures import Camera, Frame
from perception.structures.super_resolution import EnlargedPicture
from perception.transforms.bicubic import enlarged, to_uint8
from perception.transforms.resolution_pairs import ResolutionPairs

BICUBIC = {"type": "BicubicUpscaler", "scale": 2}


@MODELS.register_module(force=True)
class PixelPainter(nn.Module):
    """Repeats pixels and mixes their colours; takes sides that are multiples of 4."""

    scale, divisor = 2, 4

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2] % 4 or images.shape[3] % 4:
            raise ValueError(f"multiples of 4, got {tuple(images.shape)}")
        return self.mix(images).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def frame_of(height: int = 24, width: int = 36, token: str = "a", seed: int = 0) -> Frame:
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return Frame(token, seed, cameras={"front": Camera(None, 0, image=image)})


def paired(*args: Any, **kwargs: Any) -> Frame:
    return ResolutionPairs(2)(frame_of(*args, **kwargs), np.random.default_rng(0))


def resolver(network: dict[str, Any] | None = None, **options: Any) -> SuperResolver:
    torch.manual_seed(0)
    return build_model({"type": "SuperResolver", "network": network or {"type": "PixelPainter"}, **options}).eval()


def run(model: SuperResolver, frames: Sequence[Frame], mode: str) -> Any:
    return model(**model.data_preprocessor(frames, training=model.training), mode=mode)


def test_a_prediction_is_the_enlarged_picture_in_levels():
    (found,) = run(resolver(BICUBIC), [frame_of(23, 37)], "predict")
    image = frame_of(23, 37).cameras["front"].image
    assert (found.token, found.scale) == ("a", 2)
    assert torch.equal(found.image, to_uint8(enlarged(image / 255, 2)))


@pytest.mark.parametrize("padding", ["reflect", "mirror"])
@pytest.mark.parametrize("size", [(24, 36), (23, 37), (1, 1), (225, 401)])
def test_pictures_of_any_size_are_padded_and_cropped(size, padding):
    model = resolver(padding=padding)
    images = torch.rand(2, 3, *size)
    found = model.enlarge(images)
    expected = model.network.mix(images).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(found, expected)


def test_pictures_of_several_sizes_are_enlarged_as_if_alone():
    frames = [frame_of(24, 36), frame_of(17, 40, token="b", seed=1)]
    model = resolver(BICUBIC)
    together = run(model, frames, "predict")
    for one, frame in zip(together, frames, strict=True):
        assert torch.equal(one.image, run(model, [frame], "predict")[0].image)


def test_the_loss_is_the_mean_absolute_error():
    frame = paired()
    model = resolver(BICUBIC).train()
    losses = run(model, [frame], "loss")
    low, high = (camera.image / 255 for camera in frame.cameras.values())
    torch.testing.assert_close(losses["loss_pixel"], (enlarged(low, 2) - high).abs().mean())
    assert set(losses) == {"loss_pixel"}


def test_it_learns_from_patches_whose_sides_are_no_multiples():
    model = resolver().train()
    run(model, [paired(26, 38), paired(26, 38, "b", 1)], "loss")["loss_pixel"].backward()
    assert model.network.mix.weight.grad.any()


@pytest.mark.parametrize("options", [
    {"window": {"size": (8, 8), "stride": (4, 4)}}, {"window": {"size": (8, 12), "stride": (4, 8), "taper": True}},
    {"tiles": {"size": (8, 8), "margin": 4}},
])
def test_tiles_change_nothing_for_a_network_that_looks_at_single_pixels(options):
    images = torch.rand(1, 3, 23, 37)
    torch.testing.assert_close(resolver(**options).enlarge(images), resolver().enlarge(images))


def test_training_sees_whole_patches():
    seen: list[tuple[int, ...]] = []
    model = resolver(tiles={"size": (4, 4), "margin": 0})
    model.network.register_forward_hook(lambda _, inputs, output: seen.append(tuple(inputs[0].shape[2:])))
    model.enlarge(torch.rand(1, 3, 8, 8))
    assert seen == [(4, 4)] * 4
    model.train().enlarge(torch.rand(1, 3, 8, 8))
    assert seen[4:] == [(8, 8)]


def test_tensors_decode_to_the_predictions():
    model, frames = resolver(), [frame_of(23, 37)]
    batch = model.data_preprocessor(frames)
    raw = model(**batch, mode="tensor")
    expected = run(model, frames, "predict")[0].image
    assert torch.equal(model.decode(raw, frames)[0].image, expected)
    value = batch["inputs"]
    for stage in model.stages(batch):
        value = stage.run(value)
    assert torch.equal(value[0].image, expected)


def test_the_partner_in_high_resolution_is_not_what_is_enlarged():
    frame = paired()
    assert run(resolver(), [frame], "predict")[0].image.shape == frame.cameras["front/high"].image.shape
    assert resolver().can_learn_from(frame)
    assert not resolver().can_learn_from(frame_of())


def test_frames_with_several_cameras_need_a_name():
    frame = paired()
    frame = replace(frame, cameras={**frame.cameras, "rear": frame.cameras["front"]})
    with pytest.raises(ValueError, match="frame a has front, rear: name one as `camera`"):
        run(resolver(), [frame], "predict")
    named = resolver(data_preprocessor={"type": "ResolutionPairPreprocessor", "camera": "front"})
    assert run(named.train(), [frame], "loss")["loss_pixel"] > 0


def test_frames_without_a_partner_or_of_another_scale_teach_nothing():
    model = resolver().train()
    with pytest.raises(ConfigError, match="frame a has no picture in high resolution: put ResolutionPairs last"):
        run(model, [frame_of()], "loss")
    with pytest.raises(ConfigError, match="frame a is a pair of scale 3, the model enlarges by 2"):
        run(model, [ResolutionPairs(3)(frame_of(), np.random.default_rng(0))], "loss")


def test_training_batches_have_one_size():
    with pytest.raises(ConfigError, match="must have one size, got 12 x 18, 12 x 20"):
        run(resolver().train(), [paired(24, 36), paired(24, 40, "b")], "loss")


@pytest.mark.parametrize("image", [torch.zeros(1, 8, 8), torch.zeros(3, 0, 8), torch.zeros(8, 8)])
def test_pictures_of_other_shapes_are_refused(image):
    frame = Frame("a", 0, cameras={"front": Camera(None, 0, image=image.to(torch.uint8))})
    with pytest.raises(ValueError, match=r"the picture of camera front must be \(3, H, W\), RGB"):
        run(resolver(), [frame], "predict")


@pytest.mark.parametrize(("options", "message"), [
    ({"padding": "zeros"}, "padding must be one of reflect, mirror, got 'zeros'"),
    ({"window": {"size": (8, 8), "stride": (8, 8)}, "tiles": {"size": (8, 8), "margin": 0}}, "exclude each other"),
    ({"window": {"size": (8, 10), "stride": (4, 4)}}, "window must be in multiples of 4, got 10"),
    ({"tiles": {"size": (8, 8), "margin": 6}}, "tiles must be in multiples of 4, got 6"),
])
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SuperResolver({"type": "PixelPainter"}, **options)


@pytest.mark.parametrize("scale", [0, -2])
def test_nothing_is_enlarged_by_less_than_one(scale):
    with pytest.raises(ValueError, match="scale must be a whole number >= 1"):
        MODELS.build({"type": "BicubicUpscaler", "scale": scale})


@pytest.mark.parametrize("image", [torch.zeros(3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)])
def test_a_prediction_is_a_picture_in_levels(image):
    with pytest.raises(ValueError, match=r"image must be \(3, H, W\) uint8"):
        EnlargedPicture("a", 0, image, 2)
