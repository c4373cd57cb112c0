"""timm's networks behind the contract of an image backbone."""

from __future__ import annotations

import pytest
import torch

from perception.models.image_backbones.timm_backbone import TimmBackbone
from perception.registry import MODELS

FAMILIES = {                                         # small ones, and what timm lets them take
    "resnet10t": {}, "convnext_atto": {}, "swin_tiny_patch4_window7_224": {"img_size": (64, 96), "window_size": 4},
    "vit_tiny_patch16_224": {"img_size": (64, 96)},
}


def swin(**options) -> TimmBackbone:
    return TimmBackbone("swin_tiny_patch4_window7_224", **FAMILIES["swin_tiny_patch4_window7_224"], **options)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_maps_have_the_widths_and_strides_told(name):
    model = MODELS.build({"type": "TimmBackbone", "name": name, **FAMILIES[name]}).eval()
    with torch.no_grad():
        maps = model(torch.rand(1, 3, 64, 96))
    assert len(maps) == len(model.channels) == 4
    for x, channels, stride in zip(maps, model.channels, model.strides, strict=True):
        assert x.shape == (1, channels, 64 // stride, 96 // stride)


def test_the_last_four_levels_of_a_pyramid_have_strides_4_to_32():
    assert TimmBackbone("resnet10t").strides == (4, 8, 16, 32)


def test_other_levels_and_odd_pictures():
    model = TimmBackbone("resnet10t", out_indices=(1, 3)).eval()
    assert (model.strides, len(model.channels)) == ((4, 16), 2)
    assert [tuple(x.shape[2:]) for x in model(torch.rand(1, 3, 65, 97))] == [(17, 25), (5, 7)]


def test_the_gradient_reaches_the_picture():
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    sum(x.square().sum() for x in TimmBackbone("resnet10t")(images)).backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize(("build", "message"), [
    (lambda: TimmBackbone("convnext_attto"), r"no model 'convnext_attto' \(did you mean \"convnext_atto\"\?\)"),
    (lambda: TimmBackbone("resnet10t")(torch.rand(1, 1, 64, 64)), r"\(B, 3, H, W\), got \(1, 1, 64, 64\)"),
    (lambda: swin()(torch.rand(1, 3, 65, 97)), r"images of 65 x 97 pixels don't fit: .*65.*64"),
    (lambda: swin(strict_img_size=False)(torch.rand(1, 3, 65, 97)), r"65 x 97 pixels don't fit: .*65.*divisible.*4"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
